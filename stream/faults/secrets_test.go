package faults_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// canaryNumber is a secret that is too large for a number.
const canaryNumber = "27182818284590452353602874"

// vault has a secret wherever one can be.
type vault struct {
	Secret string           `mapstructure:"secret" validate:"required"`
	Kind   string           `mapstructure:"kind"`
	Number int              `mapstructure:"number"`
	Small  int8             `mapstructure:"small" validate:"max=10"`
	Ratio  float64          `mapstructure:"ratio"`
	Flag   bool             `mapstructure:"flag"`
	At     time.Time        `mapstructure:"at"`
	Lasts  time.Duration    `mapstructure:"lasts"`
	Mail   string           `mapstructure:"mail" validate:"omitempty,email"`
	Nosy   nosy             `mapstructure:"nosy"`
	Custom string           `mapstructure:"custom" validate:"fragile"`
	Map    map[string]int   `mapstructure:"map" validate:"dive,keys,max=3,endkeys,max=5"`
	List   []map[string]any `mapstructure:"list"`
}

// sealed is a vault as JSON.
type sealed struct {
	Secret string           `json:"secret" validate:"required"`
	Kind   string           `json:"kind"`
	Number int              `json:"number"`
	Small  int8             `json:"small" validate:"max=10"`
	Ratio  float64          `json:"ratio"`
	Flag   bool             `json:"flag"`
	At     time.Time        `json:"at"`
	Lasts  time.Duration    `json:"lasts"`
	Mail   string           `json:"mail" validate:"omitempty,email"`
	Nosy   nosy             `json:"nosy"`
	Custom string           `json:"custom" validate:"max=0"`
	Map    map[string]int   `json:"map" validate:"dive,keys,max=3,endkeys,max=5"`
	List   []map[string]any `json:"list"`
}

// seal is the codec of a vault as JSON.
type seal struct{ codec.JSON[sealed] }

func (c seal) Decode(fields codec.Fields) (vault, error) {
	value, err := c.JSON.Decode(fields)
	return vault(value), err
}

func (c seal) Encode(value vault) ([]string, error) { return c.JSON.Encode(sealed(value)) }

// nosy puts its value into the error, unless that is the zero value.
type nosy string

func (n *nosy) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if strings.HasPrefix(string(text), "panic") {
		panic(string(text))
	}
	return fmt.Errorf("cannot take %q", text)
}

func (n nosy) MarshalText() ([]byte, error) { return []byte(n), nil }

// newVault returns a topic whose validation says what it was given.
func newVault(name string) stream.Topic[vault] {
	return stream.Topic[vault]{Name: name, Codec: codec.Struct[vault](codec.WithValidation("fragile", func(level validator.FieldLevel) bool {
		if text := level.Field().String(); text != "" {
			panic(text)
		}
		return true
	}))}
}

// loud is an observer that tells everything.
type loud struct{ log *slog.Logger }

func (l loud) tell(event any) { l.log.Info("told", "event", fmt.Sprintf("%+v", event)) }

func (l loud) OnDelivery(event stream.DeliveryBegun)         { l.tell(event) }
func (l loud) OnEnd(event stream.DeliveryEnded)              { l.tell(event) }
func (l loud) OnRead(event stream.EntriesRead)               { l.tell(event) }
func (l loud) OnSettle(event stream.EntriesSettled)          { l.tell(event) }
func (l loud) OnClaim(event stream.EntriesClaimed)           { l.tell(event) }
func (l loud) OnLoss(of stream.Identity, err error)          { l.tell(of); l.explain(err) }
func (l loud) OnTrouble(event stream.Outage)                 { l.tell(event); l.explain(event.Err) }
func (l loud) OnRecovery(event stream.Outage)                { l.tell(event) }
func (l loud) OnFull(event stream.WindowFull)                { l.tell(event) }
func (l loud) explain(err error)                             { explain(l.log, err) }
func (l loud) watch(c interface{ Stats() stream.Stats })     { l.tell(c.Stats()) }
func (l loud) examine(c interface{ Health() stream.Health }) { l.tell(c.Health()) }

// explain logs an error in all forms, and each that it wraps.
func explain(log *slog.Logger, err error) {
	if err == nil {
		return
	}
	log.Info("an error", "err", err, "type", fmt.Sprintf("%T", err), "plus", fmt.Sprintf("%+v", err))
	var stack *stream.PanicError
	if errors.As(err, &stack) {
		log.Info("its stack", "stack", string(stack.Stack))
	}
	switch err := err.(type) { //nolint:errorlint // each is looked at
	case interface{ Unwrap() error }:
		explain(log, err.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range err.Unwrap() {
			explain(log, one)
		}
	}
}

// expectNoSecret fails the test if a secret is in the journal.
func (j *journal) expectNoSecret(t testing.TB) {
	t.Helper()
	j.expectNoCanary(t)
	for line := range strings.Lines(j.String()) {
		if strings.Contains(line, canaryNumber) {
			t.Errorf("a secret is in the log: %s", line)
			return
		}
	}
}

// secretEntries are the pairs of entries, each with a secret somewhere.
func secretEntries() (list [][]string) {
	good := []string{"secret", canary, "kind", "plain"}
	add := func(pairs ...string) { list = append(list, pairs) }
	add(good...)
	for _, name := range []string{"number", "small", "ratio", "flag", "at", "lasts", "mail", "nosy", "custom", "map", "list"} {
		for _, value := range []string{
			canary, canaryNumber, "panic " + canary, `"` + canary + `"`, `{"` + canary + `":` + canaryNumber + `}`, `{"` + canary + `":"` + canary + `"}`,
			`[{"` + canary + `":` + canaryNumber + `}]`, `["` + canary + `"`, `{"` + canary + `":1,"` + canary + `":2}`, `{"` + canary + `":9}`, `{"abc":` + canary + `}`,
			"2024-02-03T04:05:06" + canary, "\xff" + canary, "1" + canary,
		} {
			add(append([]string{name, value}, good...)...)
		}
	}
	add("Secret", canary)
	add("payload", canary)
	for _, kind := range []string{"fails", "is permanent", "is skipped", "panics", "ends", "is late", "is filtered", "is a dead letter"} {
		add("secret", canary, "kind", kind)
	}
	add("secret", canary, "kind", "is a twin")
	add("secret", canary, "kind", "is a twin")
	return list
}

// whoMay makes a user with a secret for its password, who may do everything.
func whoMay(t testing.TB, admin *redis.Client) *redis.Client {
	t.Helper()
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "any", "on", ">"+password("any"), "~*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	return as(t, "any", *admin.Options())
}

// handleSecrets does what a message's kind says, and keeps the secret.
func handleSecrets(ctx context.Context, msg *stream.Message[vault]) error {
	first := msg.Deliveries < 2
	switch msg.Value.Kind {
	case "fails":
		return errors.New("an error of the handler")
	case "is permanent":
		return stream.Permanent(errors.New("an error of the handler"))
	case "is skipped":
		return stream.Skip("the handler's reason")
	case "panics":
		panic("the handler's words")
	case "ends":
		if first {
			runtime.Goexit()
		}
	case "is late":
		<-ctx.Done()
		return ctx.Err()
	case "is a dead letter":
		return &stream.DeadLetterError{Err: errors.New("an error of the handler")}
	}
	return nil
}

// twin is a key that is secret, and the same for twins.
func twin(entry *stream.Entry) string {
	if strings.Contains(fmt.Sprint(entry.Fields), "is a twin") {
		return canary
	}
	return canary + entry.ID
}

// secretStack is all middleware that there is.
func secretStack(log *slog.Logger, client redis.UniversalClient) stream.Option {
	return stream.WithMiddleware(
		middleware.Logging(log),
		middleware.Dedup(client, "secrets", twin, middleware.DedupConfig{Logger: log, Lease: time.Millisecond}),
		middleware.DeadLetter(middleware.DeadLetterConfig{}),
		middleware.Retry(middleware.RetryConfig{Attempts: 2, Backoff: stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}}),
		middleware.Recover(),
		middleware.Breaker(middleware.BreakerConfig{Logger: log, Failures: 2, Backoff: stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}}),
		middleware.Timeout(20*time.Millisecond),
	)
}

// Whatever becomes of entries, no secret of theirs is in a log, an error, a statistic,
// an event or a dead letter's own fields.
func TestSecretsOfEntries(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"log", "log JSON", "log batch", "group", "group JSON", "group batch"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			admin := streamtest.StartRedis(t, "--appendonly", "no").Client()
			client := whoMay(t, admin)
			var journal journal
			log := journal.logger()
			observer := loud{log}
			topic := newVault(transfers.Name)
			entries := secretEntries()
			if strings.HasSuffix(kind, "JSON") {
				topic.Codec = seal{}
				for i, pairs := range entries {
					var members []string
					for j := 0; j+1 < len(pairs); j += 2 {
						value := pairs[j+1]
						if !strings.ContainsAny(value, `{["`) {
							value = `"` + value + `"`
						}
						members = append(members, `"`+pairs[j]+`":`+value)
					}
					entries[i] = []string{"payload", "{" + strings.Join(members, ",") + "}"}
				}
			}
			for _, pairs := range entries {
				if err := admin.XAdd(t.Context(), &redis.XAddArgs{Stream: transfers.Name, Values: pairs}).Err(); err != nil {
					t.Fatal(err)
				}
			}
			handle := middleware.Filter(handleSecrets, func(v vault) bool { return v.Kind != "is filtered" })
			opts := []stream.Option{
				stream.WithLogger(log), stream.WithObserver(observer), secretStack(log, client), stream.WithConcurrency(4),
				stream.WithOrderKey(stream.Field("kind")), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}),
			}
			batch := func(ctx context.Context, messages []*stream.Message[vault]) error {
				errs := make([]error, len(messages))
				for i, msg := range messages {
					errs[i] = handleSecrets(ctx, msg)
				}
				return stream.Partial(errs)
			}
			store, err := offset.NewRedis(client, "")
			if err != nil {
				t.Fatal(err)
			}
			var consumer *stream.Consumer[vault]
			switch kind {
			case "log", "log JSON":
				consumer, err = stream.NewConsumer(client, topic, store, handle, opts...)
			case "log batch":
				consumer, err = stream.NewBatchConsumer(client, topic, store, batch, append(opts, stream.WithBatch(1, time.Millisecond))...)
			case "group batch":
				consumer, err = stream.NewGroupBatchConsumer(client, topic, group, batch, append(opts, stream.WithBatch(1, time.Millisecond), stream.WithMaxDeliveries(20))...)
			default:
				consumer, err = stream.NewGroupConsumer(client, topic, group, handle, append(opts, stream.WithMaxDeliveries(20))...)
			}
			if err != nil {
				t.Fatal(err)
			}
			instance := streamtest.NewInstance(t, client)
			instance.Start(consumer)
			streamtest.Await(t, "everything is handled", func() bool {
				observer.watch(consumer)
				observer.examine(consumer)
				if lag, err := consumer.Lag(t.Context()); err != nil {
					explain(log, err)
				} else {
					observer.tell(lag)
				}
				stats := consumer.Stats()
				return stats.Read >= int64(len(entries)) && stats.Window == stats.Parked
			})
			explain(log, instance.Stop())
			observer.watch(consumer)
			observer.examine(consumer)
			observer.tell(consumer)
			stats := consumer.Stats()
			if stats.DeadLettered < 20 || !strings.Contains(kind, "batch") && stats.Skipped < 2 || !strings.Contains(journal.String(), "cannot decode") {
				t.Errorf("too little has gone wrong: %+v", stats)
			}
			for _, letter := range admin.XRange(t.Context(), stream.DeadLetterStream(transfers.Name), "-", "+").Val() {
				for name, value := range letter.Values {
					if text := fmt.Sprint(value); strings.HasPrefix(name, stream.DeadLetterPrefix) {
						log.Info("a dead letter has", "name", name, "value", text)
					}
				}
			}
			journal.expectNoSecret(t)
			t.Logf("%d entries, %d dead letters, %d bytes of log: no secret", len(entries), stats.DeadLettered, len(journal.String()))
		})
	}
}

// Whatever goes wrong between a client and its server, no secret of what is published,
// moved or logged in with is in a log or an error.
func TestSecretsInTrouble(t *testing.T) {
	t.Parallel()
	dump := dumpOfSecrets(t)
	for name, row := range map[string]struct {
		args   []string
		harm   func(t *testing.T, admin *redis.Client)
		client func(*redis.Options)
		// fine is set if publishing works all the same.
		fine bool
	}{
		"wrong password":     {client: func(o *redis.Options) { o.Username, o.Password = "any", canary }},
		"no login":           {args: []string{"--requirepass", canary}, client: func(o *redis.Options) { o.Username, o.Password = "", "" }},
		"no server":          {client: func(o *redis.Options) { o.Addr = "127.0.0.1:1" }},
		"TLS to none":        {client: func(o *redis.Options) { o.TLSConfig = &tls.Config{ServerName: "localhost"} }},
		"no XADD":            {args: []string{"--rename-command", "XADD", ""}},
		"no scripts":         {args: []string{"--rename-command", "EVAL", "", "--rename-command", "EVALSHA", ""}, fine: true},
		"no script, no XADD": {args: []string{"--rename-command", "EVAL", "", "--rename-command", "EVALSHA", "", "--rename-command", "XADD", ""}},
		"no right": {harm: func(t *testing.T, admin *redis.Client) {
			t.Helper()
			admin.Do(t.Context(), "ACL", "SETUSER", "any", "-xadd", "-eval", "-evalsha")
		}},
		"no memory": {harm: func(t *testing.T, admin *redis.Client) {
			t.Helper()
			admin.ConfigSet(t.Context(), "maxmemory", "1")
		}},
		"a replica": {harm: func(t *testing.T, admin *redis.Client) {
			t.Helper()
			admin.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1")
		}},
		"another type": {harm: func(t *testing.T, admin *redis.Client) {
			t.Helper()
			admin.Del(t.Context(), transfers.Name)
			admin.Set(t.Context(), transfers.Name, canary, 0)
			admin.Set(t.Context(), stream.DeadLetterStream(transfers.Name), canary, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t, append([]string{"--appendonly", "no", "--save", ""}, row.args...)...)
			opts := redis.Options{Addr: server.Addr, Protocol: 2, DisableIdentity: true}
			if len(row.args) > 0 && row.args[0] == "--requirepass" {
				opts.Password = canary
			}
			admin := redis.NewClient(&opts)
			t.Cleanup(func() { _ = admin.Close() })
			if err := admin.Do(t.Context(), "ACL", "SETUSER", "any", "on", ">"+password("any"), "~*", "+@all").Err(); err != nil {
				t.Fatal(err)
			}
			// Where there is no XADD, there is no other way.
			if err := admin.Restore(t.Context(), transfers.Name, 0, dump).Err(); err != nil {
				t.Fatal(err)
			}
			of := opts
			of.Username, of.Password = "any", password("any")
			of.MaxRetries, of.DialerRetries, of.DialTimeout = -1, 1, 200*time.Millisecond
			if row.client != nil {
				row.client(&of)
			}
			client := redis.NewClient(&of)
			t.Cleanup(func() { _ = client.Close() })
			var journal journal
			log := journal.logger()
			observer := loud{log}
			if row.harm != nil {
				row.harm(t, admin)
			}
			if failed := publishSecrets(t, client, log); failed == row.fine {
				t.Errorf("publishing fails: %t", failed)
			}
			consumeSecrets(t, client, observer)
			journal.expectNoSecret(t)
			if !strings.Contains(journal.String(), "an error") {
				t.Error("nothing has gone wrong")
			}
		})
	}
}

// dumpOfSecrets returns a stream with a secret, as DUMP gives it.
func dumpOfSecrets(t *testing.T) string {
	t.Helper()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	for range 3 {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", Values: []string{"secret", canary}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	dump, err := client.Dump(t.Context(), "s").Result()
	if err != nil {
		t.Fatal(err)
	}
	return dump
}

// publishSecrets publishes in every way, values that are fine and such that are not.
func publishSecrets(t *testing.T, client *redis.Client, log *slog.Logger) (failed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	producer, err := stream.NewProducer(client, newVault(transfers.Name))
	if err != nil {
		t.Fatal(err)
	}
	documents, err := stream.NewProducer(client, stream.Topic[vault]{Name: transfers.Name, Codec: seal{}})
	if err != nil {
		t.Fatal(err)
	}
	good := vault{Secret: canary, Kind: "plain"}
	list := []vault{
		good,
		{Secret: "", Kind: canary},
		{Secret: canary, Mail: canary},
		{Secret: canary, Custom: canary},
		{Secret: canary, Map: map[string]int{canary: 1}},
		{Secret: canary, Map: map[string]int{"a": 31415926}},
		{Secret: canary, List: []map[string]any{{canary: func() {}}}},
		{Secret: canary, Kind: canary + "\xff", List: []map[string]any{{canary: "\xff" + canary}}},
		{Secret: canary, At: time.Date(27182, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	for _, value := range list {
		_, err := producer.Publish(ctx, value)
		explain(log, err)
		failed = failed || err != nil && value.Secret == good.Secret && value.Kind == good.Kind && value.Mail == ""
		_, err = producer.PublishOnce(ctx, canary, value)
		explain(log, err)
		_, err = documents.Publish(ctx, value)
		explain(log, err)
	}
	results, err := producer.PublishAll(ctx, list)
	explain(log, err)
	for _, result := range results {
		explain(log, result.Err)
	}
	_, err = producer.Publish(ctx, good)
	return err != nil
}

// consumeSecrets runs consumers for which everything is a dead letter, until they have
// had trouble or are done.
func consumeSecrets(t *testing.T, client *redis.Client, observer loud) {
	t.Helper()
	handle := func(context.Context, *stream.Message[vault]) error {
		return &stream.DeadLetterError{Err: errors.New("an error of the handler")}
	}
	var trouble atomic.Int64
	opts := []stream.Option{
		stream.WithLogger(observer.log), stream.WithObserver(observer, counting{&trouble}), stream.WithMiddleware(middleware.Logging(observer.log)),
	}
	store, err := offset.NewRedis(client, "")
	if err != nil {
		t.Fatal(err)
	}
	one, err := stream.NewConsumer(client, newVault(transfers.Name), store, handle, opts...)
	if err != nil {
		t.Fatal(err)
	}
	other, err := stream.NewGroupConsumer(client, newVault(transfers.Name), group, handle, opts...)
	if err != nil {
		t.Fatal(err)
	}
	for _, consumer := range []*stream.Consumer[vault]{one, other} {
		trouble.Store(0)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- consumer.Run(ctx) }()
		ended := false
		_, err := consumer.Lag(ctx)
		explain(observer.log, err)
		streamtest.Await(t, "the consumer has had trouble, or is done", func() bool {
			observer.watch(consumer)
			observer.examine(consumer)
			select {
			case err := <-done:
				explain(observer.log, err)
				ended = true
			default:
			}
			stats := consumer.Stats()
			return ended || trouble.Load() > 0 || stats.Read > 0 && stats.Window == 0
		})
		cancel()
		if !ended {
			explain(observer.log, <-done)
		}
		observer.watch(consumer)
		observer.examine(consumer)
	}
	trimmer, err := stream.NewTrimmer(client, transfers.Name, stream.WithOffsets(store, transfers.Name), stream.WithLogger(observer.log))
	if err != nil {
		t.Fatal(err)
	}
	result, err := trimmer.Trim(t.Context())
	observer.tell(result)
	explain(observer.log, err)
}

// counting counts trouble.
type counting struct{ n *atomic.Int64 }

func (c counting) OnTrouble(stream.Outage) { c.n.Add(1) }

// What a handler puts into its errors and panics, and a codec of one's own into those
// of its making, is theirs, and is told as it is. It is found in all of the places that
// the other tests look into.
func TestSecretsThatAreTold(t *testing.T) {
	t.Parallel()
	admin := streamtest.StartRedis(t, "--appendonly", "no").Client()
	client := whoMay(t, admin)
	var journal journal
	observer := loud{journal.logger()}
	topic := newVault(transfers.Name)
	topic.Codec = telling{topic.Codec}
	for _, kind := range []string{"error", "panic", "codec error", "codec panic"} {
		if err := admin.XAdd(t.Context(), &redis.XAddArgs{Stream: transfers.Name, Values: []string{"secret", "x", "kind", kind}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := stream.NewConsumer(client, topic, &offset.Memory{}, func(_ context.Context, msg *stream.Message[vault]) error {
		if msg.Value.Kind == "panic" {
			panic(canary + " of a panic")
		}
		return errors.New(canary + " of an error")
	}, stream.WithLogger(observer.log), stream.WithObserver(observer), secretStack(observer.log, client))
	if err != nil {
		t.Fatal(err)
	}
	instance := streamtest.NewInstance(t, client)
	instance.Start(consumer)
	streamtest.Await(t, "all are dead letters", func() bool { return consumer.Stats().DeadLettered == 4 })
	observer.watch(consumer)
	explain(observer.log, instance.Stop())
	letters := fmt.Sprint(admin.XRange(t.Context(), stream.DeadLetterStream(transfers.Name), "-", "+").Val())
	for _, where := range []string{" of an error", " of a panic", " of a codec error", " of a codec panic"} {
		told := 0
		for line := range strings.Lines(journal.String()) {
			if !strings.Contains(line, canary+where) {
				continue
			}
			for i, word := range []string{`msg="entry passed: it is in the dead letters now"`, "msg=told"} {
				if strings.Contains(line, word) {
					told |= 1 << i
				}
			}
		}
		if told != 3 || !strings.Contains(letters, canary+where) {
			t.Errorf("the secret%s is not seen where it must be: %b\n%s", where, told, journal.String())
		}
	}
	if strings.Contains(fmt.Sprintf("%+v", consumer.Stats()), canary) {
		t.Error("the statistics have a text of the handler's")
	}
}

// telling is a codec whose words have the secret.
type telling struct{ codec.Codec[vault] }

func (c telling) Decode(fields codec.Fields) (vault, error) {
	switch kind, _ := fields.Get("kind"); kind {
	case "codec error":
		return vault{}, errors.New(canary + " of a codec error")
	case "codec panic":
		panic(canary + " of a codec panic")
	}
	return c.Codec.Decode(fields)
}

// clientLog is what go-redis logs by itself, in all tests of this room.
var clientLog journal

// watched runs the tests, and looks into that log.
type watched struct{ *testing.M }

// Run is what goleak calls.
func (w watched) Run() int {
	redis.SetLogger(clientLogger{})
	code := w.M.Run()
	if text := clientLog.String(); strings.Contains(text, canary) || strings.Contains(text, canaryNumber) {
		fmt.Println("a secret is in the log of go-redis:\n" + text)
		return 1
	}
	return code
}

// clientLogger keeps what it is given, which a test that fails for another reason has
// no use for: connections are refused all the time.
type clientLogger struct{}

func (clientLogger) Printf(_ context.Context, format string, args ...any) {
	_, _ = fmt.Fprintf(&clientLog, format+"\n", args...)
}
