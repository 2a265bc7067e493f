package faults_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// role is what a Redis user is for, with the rows of the README's table of rights that
// are its own.
type role struct {
	name string
	rows []string
	// work does all that there is to do, once.
	work func(*shift) error
}

var roles = []role{
	{"log", []string{"a consumer in log mode", "its offsets, with `offset.NewRedis`", "dead letters of either"}, workInLogMode},
	{"log, with its offsets elsewhere", []string{"a consumer in log mode", "dead letters of either"}, workInLogMode},
	{"log in a Runner", []string{"a consumer in log mode", "its offsets, with `offset.NewRedis`", "dead letters of either", "consumers of either in a `Runner`"}, workInLogMode},
	{"group", []string{"a consumer in group mode", "with `RetryAfter`", "dead letters of either"}, workInAGroup},
	{"group with a name", []string{"a consumer in group mode", "with `RetryAfter`", "with `WithConsumerName`", "dead letters of either"}, workInAGroup},
	{"group in a Runner", []string{"a consumer in group mode", "with `RetryAfter`", "dead letters of either", "consumers of either in a `Runner`", "those in group mode"}, workInAGroup},
	{"group with effects", []string{"a consumer in group mode", "with `RetryAfter`", "dead letters of either", "with `WithEffects`, for outputs `O` and counters `C`"}, workWithEffects},
	{"producer", []string{"a producer"}, publish},
	{"producer with PublishOnce", []string{"with `PublishOnce`"}, publishOnce},
	{"producer with PublishAt", []string{"with `PublishAt` and `Cancel`"}, publishAt},
	{"mover", []string{"a `Mover`"}, move},
	{"trimmer", []string{"a trimmer"}, trim},
	{"trimmer with a hard limit", []string{"a trimmer", "with a hard limit"}, trim},
	{"mirror", []string{"a mirror"}, mirror},
	{"Dedup", []string{"`middleware.Dedup`"}, dedup},
}

// Each role needs all of the rights that the README gives it, and no other: with them
// nothing is refused, and without any one of them, something is.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	rows := rights(t)
	used := map[string]bool{inACluster: true} // by [TestFailovers]
	for _, r := range slices.Concat(roles, operators) {
		var words []string
		for _, row := range r.rows {
			text, found := rows[row]
			if !found {
				t.Fatalf("the README's table of rights has no row %q", row)
			}
			used[row] = true
			for word := range strings.FieldsSeq(text) {
				if !slices.Contains(words, word) {
					words = append(words, word)
				}
			}
		}
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			admin := streamtest.StartRedis(t, "--appendonly", "no").Client()
			if err := admin.ConfigSet(t.Context(), "acllog-max-len", "10000").Err(); err != nil {
				t.Fatal(err)
			}
			s := newShift(t, r, admin, words, "")
			if refused, err := s.run(); len(refused) > 0 || err != nil {
				t.Fatalf("with all of its rights: refused %q, %v", refused, err)
			}
			for _, without := range words {
				s := newShift(t, r, admin, words, without)
				refused, err := s.run()
				if len(refused) == 0 && err == nil {
					t.Errorf("it does without %s", without)
				}
			}
			t.Logf("%d rights, each of which it needs: %s", len(words), strings.Join(words, " "))
		})
	}
	for _, row := range slices.Sorted(maps.Keys(rows)) {
		if !used[row] && row != "" && strings.Contains(rows[row], "+") {
			t.Errorf("no role has the rights of the row %q", row)
		}
	}
}

// shift is one time that a role's work is done.
type shift struct {
	*testing.T
	role   role
	ctx    context.Context //nolint:containedctx // it is the test's
	cancel context.CancelFunc
	admin  *redis.Client
	client *redis.Client
	user   string
	topic  stream.Topic[transfer]
	log    *journal
}

// newShift makes a user that has all rights of a role on a topic of its own, but one.
func newShift(t *testing.T, r role, admin *redis.Client, words []string, without string) *shift {
	t.Helper()
	// A script is sent as a whole the first time only; and see called.
	if err := errors.Join(admin.ScriptFlush(t.Context()).Err(), admin.ConfigResetStat(t.Context()).Err()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	s := &shift{T: t, role: r, ctx: ctx, cancel: cancel, admin: admin, log: new(journal)}
	s.user = fmt.Sprintf("user-%d", time.Now().UnixNano())
	s.topic.Name = "topic-of-" + s.user
	rule := []any{"ACL", "SETUSER", s.user, "on", ">" + password(s.user), "-@all"}
	for _, word := range words {
		if word == without {
			continue
		}
		if !strings.HasPrefix(word, "+") {
			rule = append(rule, strings.Replace(word, "T", s.topic.Name+other, 1))
			word = strings.Replace(word, "T", s.topic.Name, 1)
		}
		rule = append(rule, word)
	}
	if err := admin.Do(ctx, rule...).Err(); err != nil {
		t.Fatalf("%v: %v", rule, err)
	}
	s.client = as(t, s.user, *admin.Options())
	return s
}

// run does the work, until it is done or something was refused. It returns what was.
func (s *shift) run() (refused []string, err error) {
	s.Helper()
	defer s.cancel()
	done := make(chan error, 1)
	go func() { done <- s.role.work(s) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return s.refusals(), err
		case <-tick.C:
			if refused := s.refusals(); len(refused) > 0 {
				s.cancel()
				<-done //nolint:errcheck // the refusal says more
				return refused, nil
			}
		}
	}
}

// refusals returns what the server has refused this user.
func (s *shift) refusals() (list []string) {
	for _, refusal := range refusals(s.T, s.admin) {
		if strings.Contains(refusal, s.user+",") {
			list = append(list, refusal)
		}
	}
	// The server's log has none that a script has found out by itself.
	if log := s.log.String(); strings.Contains(log, "the user has no permission to run") || strings.Contains(log, "this user has no permissions to run") {
		list = append(list, "by a script")
	}
	return list
}

// await waits until a condition holds. It reports false if the shift ends before.
func (s *shift) await(holds func() bool) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return false
		}
	}
	return true
}

// add adds an entry, which the handler deals with by its account.
func (s *shift) add(account string) {
	s.admin.XAdd(s.ctx, &redis.XAddArgs{Stream: s.topic.Name, Values: []string{"number", "1", "account", account, "secret", canary}})
}

// called reports whether the server has been asked for a command in this shift.
func (s *shift) called(command string) bool {
	return strings.Contains(s.admin.Info(s.ctx, "commandstats").Val(), "cmdstat_"+command+":")
}

// errUnfinished is of a shift that has ended before its work was done.
var errUnfinished = errors.New("the work has not come to its end")

// handleAll does what an entry's account says.
func handleAll(_ context.Context, msg *stream.Message[transfer]) error {
	switch {
	case msg.Value.Account == "dead":
		return &stream.DeadLetterError{Err: errors.New("no")}
	case msg.Value.Account == "fails" && msg.Deliveries < 2:
		return errors.New("not yet")
	case msg.Value.Account == "is put off" && msg.Deliveries < 2:
		return stream.RetryAfter(0, errors.New("not yet"))
	}
	return nil
}

// other is behind the name of a topic that has nothing to read, so that somebody waits
// while a consumer of the same Runner comes and goes.
const other = "-other"

// consume runs a consumer, by itself or in a Runner, and has it handle entries and
// dead letters, deliver one again, look around, and stop while it waits.
func (s *shift) consume(build func(stream.Topic[transfer]) (*stream.Consumer[transfer], error), commands ...string) error {
	consumer, err := build(s.topic)
	var beside *stream.Consumer[transfer]
	if err == nil && strings.HasSuffix(s.role.name, "Runner") {
		commands = append(commands, "client|unblock")
		beside, err = build(stream.Topic[transfer]{Name: s.topic.Name + other})
	}
	if err != nil {
		return err
	}
	run := consumer.Run
	if beside != nil {
		r := stream.Runner{OnFailure: stream.StopAll} // it is the refusal that is looked at
		r.Add(beside, &afterwards{s, consumer, beside})
		run = r.Run
	}
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	finished := s.await(func() bool { return consumer.Health().Ready || len(done) > 0 })
	for _, account := range []string{"is fine", "fails", "is put off", "dead"} {
		s.add(account)
	}
	finished = finished && s.await(func() bool {
		stats := consumer.Stats()
		settled := stats.Handled == 3 && stats.DeadLettered == 1 && stats.Window == 0
		return settled && !slices.ContainsFunc(commands, func(c string) bool { return !s.called(c) }) || len(done) > 0
	})
	stop()
	err = <-done
	if err == nil && (!finished || consumer.Stats().DeadLettered != 1) {
		err = errUnfinished
	}
	return err
}

// afterwards runs a consumer when another one waits for entries, whose read it has to
// end.
type afterwards struct {
	s               *shift
	consumer, other *stream.Consumer[transfer]
}

func (a *afterwards) Run(ctx context.Context) error {
	a.s.await(func() bool { return a.other.Health().Ready || ctx.Err() != nil })
	return a.consumer.Run(ctx)
}

// options are those of a consumer that does everything soon.
func (s *shift) options() []stream.Option {
	return []stream.Option{
		stream.WithLogger(s.log.logger()), stream.WithBlock(100 * time.Millisecond),
		stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}),
	}
}

func workInLogMode(s *shift) error {
	s.add("before its start")
	var store offset.Store = &offset.Memory{}
	if !strings.Contains(s.role.name, "elsewhere") {
		var err error
		if store, err = offset.NewRedis(s.client, ""); err != nil {
			return err
		}
	}
	return s.consume(func(topic stream.Topic[transfer]) (*stream.Consumer[transfer], error) {
		return stream.NewConsumer(s.client, topic, store, handleAll, append(s.options(), stream.WithStart(stream.FromEnd()))...)
	}, "role")
}

func workInAGroup(s *shift) error {
	name, commands := "", []string{"role", "xinfo|consumers", "xgroup|setid"}
	if strings.HasSuffix(s.role.name, "a name") {
		name, commands = "worker-7", append(commands, "xgroup|createconsumer")
	}
	if strings.HasSuffix(s.role.name, "Runner") {
		commands = append(commands, "xlen")
	}
	return s.consume(func(topic stream.Topic[transfer]) (*stream.Consumer[transfer], error) {
		return stream.NewGroupConsumer(s.client, topic, group, handleAll, append(s.options(), stream.WithClaimIdle(40*time.Millisecond), stream.WithConsumerName(name))...)
	}, commands...)
}

func workWithEffects(s *shift) error {
	bills, err := stream.NewOutput(stream.Topic[transfer]{Name: "O"})
	if err != nil {
		return err
	}
	counts, err := stream.NewCounters("C")
	if err != nil {
		return err
	}
	handle := func(ctx context.Context, msg *stream.Message[transfer]) error {
		if err := errors.Join(bills.Publish(ctx, msg, msg.Value), counts.Add(ctx, msg, "n", 1)); err != nil {
			return err
		}
		return handleAll(ctx, msg)
	}
	return s.consume(func(topic stream.Topic[transfer]) (*stream.Consumer[transfer], error) {
		return stream.NewGroupConsumer(s.client, topic, group, handle, append(s.options(), stream.WithClaimIdle(40*time.Millisecond), stream.WithEffects(bills, counts))...)
	}, "role", "xinfo|consumers", "xgroup|setid")
}

func publish(s *shift) error {
	producer, err := stream.NewProducer(s.client, s.topic, stream.WithMaxLen(100))
	if err != nil {
		return err
	}
	_, err = producer.Publish(s.ctx, transfer{Account: "a", Secret: canary})
	return err
}

func publishOnce(s *shift) error {
	producer, err := stream.NewProducer(s.client, s.topic)
	if err != nil {
		return err
	}
	// A write that is refused takes its key back.
	s.admin.Set(s.ctx, s.topic.Name, "no stream", 0)
	if _, err := producer.PublishOnce(s.ctx, "key", transfer{Account: "a", Secret: canary}); err == nil {
		return errors.New("a key that holds no stream was published to")
	}
	s.admin.Del(s.ctx, s.topic.Name)
	for range 2 {
		if _, err := producer.PublishOnce(s.ctx, "key", transfer{Account: "a", Secret: canary}); err != nil {
			return err
		}
	}
	if n := s.admin.XLen(s.ctx, s.topic.Name).Val(); n != 1 {
		return fmt.Errorf("%d entries were published", n)
	}
	_, err = producer.Publish(s.ctx, transfer{Account: "a", Secret: canary})
	return err
}

func publishAt(s *shift) error {
	producer, err := stream.NewProducer(s.client, s.topic)
	if err != nil {
		return err
	}
	ticket, err := producer.PublishAt(s.ctx, time.Now().Add(time.Hour), transfer{Account: "a", Secret: canary})
	if err != nil {
		return err
	}
	was, err := producer.Cancel(s.ctx, ticket)
	if err == nil && !was {
		err = errors.New("the ticket was not there")
	}
	return err
}

func move(s *shift) error {
	producer, err := stream.NewProducer(s.admin, s.topic)
	if err != nil {
		return err
	}
	if _, err := producer.PublishAt(s.ctx, time.Now(), transfer{Account: "a", Secret: canary}); err != nil {
		return err
	}
	// Contents of another form are put off.
	s.admin.ZAdd(s.ctx, stream.DueKey(s.topic.Name), redis.Z{Score: 1, Member: "odd"})
	s.admin.HSet(s.ctx, stream.LaterKey(s.topic.Name), "odd", "odd")
	mover, err := stream.NewMover(s.client, []string{s.topic.Name}, stream.WithLogger(new(journal).logger()))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(s.ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- mover.Run(ctx) }()
	moved := s.await(func() bool { return s.admin.XLen(s.ctx, s.topic.Name).Val() == 1 || len(done) > 0 })
	stop()
	if err := <-done; err != nil || moved {
		return err
	}
	return errUnfinished
}

func trim(s *shift) error {
	for range 5 {
		s.add("is fine")
	}
	s.admin.XGroupCreate(s.ctx, s.topic.Name, group, "0")
	s.admin.XReadGroup(s.ctx, &redis.XReadGroupArgs{Group: group, Consumer: "one", Streams: []string{s.topic.Name, ">"}, Count: 3})
	ids := streamtest.EntryIDs(s, s.admin, s.topic.Name)
	s.admin.XAck(s.ctx, s.topic.Name, group, ids[0])
	opts := []stream.TrimmerOption{stream.WithLogger(new(journal).logger())}
	if strings.HasSuffix(s.role.name, "hard limit") {
		opts = append(opts, stream.WithHardMaxLen(2), stream.WithHardMaxAge(time.Hour))
	}
	trimmer, err := stream.NewTrimmer(s.client, s.topic.Name, opts...)
	if err != nil {
		return err
	}
	result, err := trimmer.Trim(s.ctx)
	if err == nil && result.Trimmed == 0 {
		err = errors.New("nothing was trimmed")
	}
	return err
}

func mirror(s *shift) error {
	m, err := stream.NewMirror(s.client, s.topic.Name, &offset.Memory{})
	if err != nil {
		return err
	}
	if _, _, err := m.Load(s.ctx, "label"); err != nil {
		return err
	}
	return m.Save(s.ctx, "label", "5-0")
}

func dedup(s *shift) error {
	fails := true
	handle := middleware.Dedup(s.client, s.topic.Name, func(*stream.Entry) string { return "key" }, middleware.DedupConfig{Logger: new(journal).logger()})(
		func(context.Context, *stream.Entry) error {
			if fails {
				return errors.New("not yet")
			}
			return nil
		})
	entry := &stream.Entry{Stream: s.topic.Name, ID: "1-0"}
	if err := handle(s.ctx, entry); err == nil {
		return errors.New("the failure was lost")
	}
	fails = false
	return handle(s.ctx, entry)
}
