package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
)

// batchPlan is one case of [TestBatchesAgainstAModel].
type batchPlan struct {
	mode    string // log, keyed or group
	entries int
	size    int
	atOnce  int
	seed    uint64
	retry   bool // in place
	stops   int
	// Of a thousand: batches that fail as a whole, in part, with a panic or by ending
	// their goroutine, and entries that fail before they get to the handler or after it.
	fails, partials, panics, exits, before, after int
	// Of a thousand entries: such as cannot be decoded, are of no concern, and are for
	// the dead letters.
	malformed, skipped, dead int
	unwritable               bool // the dead letters, for a while
}

func (p batchPlan) ordered() bool { return p.mode == "log" }

func drawPlan(t *rapid.T) batchPlan {
	chance := func(name string) int { return rapid.SampledFrom([]int{0, 0, 20, 200}).Draw(t, name) }
	return batchPlan{
		mode:    rapid.SampledFrom([]string{"log", "log", "keyed", "group"}).Draw(t, "mode"),
		entries: rapid.IntRange(1, 150).Draw(t, "entries"),
		size:    rapid.IntRange(1, 20).Draw(t, "size"),
		atOnce:  rapid.IntRange(1, 3).Draw(t, "at once"),
		seed:    rapid.Uint64().Draw(t, "seed"),
		retry:   rapid.Bool().Draw(t, "retry"),
		stops:   rapid.IntRange(0, 3).Draw(t, "stops"),
		fails:   chance("fails"), partials: chance("partials"), panics: chance("panics"), exits: chance("exits"),
		before: chance("before"), after: chance("after"),
		malformed: chance("malformed"), skipped: chance("skipped"), dead: chance("dead"),
		unwritable: rapid.Bool().Draw(t, "unwritable"),
	}
}

// Batches against a plain model, under failures of all kinds: in log mode the sequence
// of batches has no gap and no disorder, with an order key that holds for each key, and
// in any mode a batch that failed comes back as it was, without the passed entries. All
// are passed in the end.
func TestBatchesAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		plan := drawPlan(rt)
		var problems []string
		bubble(t, func(t *testing.T, client *redis.Client) {
			m := &batchModel{plan: plan, client: client, rand: rand.New(rand.NewPCG(plan.seed, 0)), entries: make(map[string]*modelEntry)} //nolint:gosec // to be repeated
			m.run(t)
			problems = m.problems
		})
		if len(problems) > 0 {
			rt.Fatalf("%+v: %d problems, the first: %s", plan, len(problems), problems[0])
		}
	})
}

// modelEntry is the state of an entry, by the results of its chain.
type modelEntry struct {
	id, key string
	place   int
	kind    string // malformed, skip, dead or ""
	passed  bool
	letter  bool // is to be a dead letter
	// failed is when its last delivery failed, zero if none did.
	failed time.Time
	batch  *modelBatch
}

// modelBatch is the last batch that an entry was in.
type modelBatch struct {
	entries []*modelEntry
}

type batchModel struct {
	plan   batchPlan
	client *redis.Client
	store  offset.Memory

	mu       sync.Mutex
	rand     *rand.Rand
	entries  map[string]*modelEntry
	order    []*modelEntry
	problems []string
	calm     bool // nothing fails any more
}

func (m *batchModel) problem(format string, args ...any) {
	m.problems = append(m.problems, fmt.Sprintf(format, args...))
}

func (m *batchModel) happens(ofThousand int) bool {
	return !m.calm && m.rand.IntN(1000) < ofThousand
}

func (m *batchModel) run(t *testing.T) {
	dead := stream.DeadLetterStream(orders.Name)
	m.add(t)
	if m.plan.unwritable {
		m.client.Set(t.Context(), dead, "not a stream", 0)
	}
	consumer := m.consumer(t)
	for range m.plan.stops {
		stop := start(t, consumer)
		m.sleep(2 * time.Second)
		if err := stop(); err != nil {
			m.problem("the stop: %v", err)
		}
		m.stopped(t)
	}
	start(t, consumer)
	m.sleep(10 * time.Second)
	if m.plan.unwritable {
		m.client.Del(t.Context(), dead)
	}
	m.sleep(10 * time.Second)
	m.mu.Lock()
	m.calm = true
	m.mu.Unlock()
	time.Sleep(time.Minute)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.order {
		if !m.isPassed(t.Context(), e) {
			m.problem("entry %d, %q, was never passed", e.place, e.kind)
		}
	}
}

func (m *batchModel) sleep(most time.Duration) {
	m.mu.Lock()
	d := time.Duration(m.rand.Int64N(int64(most)))
	m.mu.Unlock()
	time.Sleep(d)
}

func (m *batchModel) add(t *testing.T) {
	for i := range m.plan.entries {
		e := &modelEntry{place: i, key: fmt.Sprint(m.rand.IntN(5))}
		amount := "1"
		switch n := m.rand.IntN(1000); {
		case n < m.plan.malformed:
			e.kind, amount = "malformed", "no number"
		case n < m.plan.malformed+m.plan.skipped:
			e.kind = "skip"
		case n < m.plan.malformed+m.plan.skipped+m.plan.dead:
			e.kind = "dead"
		}
		e.id = addFields(t, m.client, "id", e.key, "amount", amount)
		m.entries[e.id] = e
		m.order = append(m.order, e)
	}
}

func (m *batchModel) consumer(t *testing.T) *stream.Consumer[order] {
	stack := []stream.Middleware{m.watch, middleware.DeadLetter(middleware.DeadLetterConfig{If: func(err error) bool {
		var permanent *stream.PermanentError
		var malformed *stream.DecodeError
		return errors.As(err, &permanent) || errors.As(err, &malformed)
	}})}
	if m.plan.retry {
		stack = append(stack, middleware.Retry(middleware.RetryConfig{Attempts: 2, Backoff: stream.Backoff{Min: time.Millisecond, Max: 100 * time.Millisecond}}))
	}
	opts := quietly([]stream.Option{
		stream.WithMiddleware(append(stack, m.disturb)...), stream.WithBatch(m.plan.size, 20*time.Millisecond),
		stream.WithConcurrency(m.plan.atOnce), stream.WithReadCount(50), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: 200 * time.Millisecond}),
	})
	if m.plan.mode == "keyed" {
		opts = append(opts, stream.WithOrderKey(stream.Field("id")))
	}
	var consumer *stream.Consumer[order]
	var err error
	if m.plan.mode == "group" {
		consumer, err = stream.NewGroupBatchConsumer(m.client, orders, "billing", m.handle, opts...)
	} else {
		consumer, err = stream.NewBatchConsumer(m.client, orders, &m.store, m.handle, opts...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// watch is the outermost middleware, which sees the outcome of an entry.
func (m *batchModel) watch(next stream.EntryHandler) stream.EntryHandler {
	return func(ctx context.Context, entry *stream.Entry) error {
		err := errors.New("its goroutine ended")
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			e := m.entries[entry.ID]
			var skip *stream.SkipError
			var letter *stream.DeadLetterError
			e.failed = time.Time{}
			if err != nil {
				e.failed = time.Now()
			}
			switch {
			case err == nil, errors.As(err, &skip):
				e.passed = true
			case ctx.Err() != nil: // the stop has broken it off
			case errors.As(err, &letter):
				e.letter = true
			}
		}()
		err = next(ctx, entry)
		return err
	}
}

// disturb is the innermost middleware.
func (m *batchModel) disturb(next stream.EntryHandler) stream.EntryHandler {
	draw := func(chance int) (time.Duration, bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		d := time.Duration(0)
		if m.happens(50) {
			d = time.Duration(m.rand.Int64N(int64(50 * time.Millisecond)))
		}
		return d, m.happens(chance)
	}
	return func(ctx context.Context, entry *stream.Entry) error {
		d, fails := draw(m.plan.before)
		time.Sleep(d)
		if fails {
			return errors.New("before the handler")
		}
		m.arrives(entry.ID)
		if err := next(ctx, entry); err != nil {
			return err
		}
		d, fails = draw(m.plan.after)
		time.Sleep(d)
		if fails {
			return errors.New("after the handler")
		}
		return nil
	}
}

// arrives forgets a failure that was before the entry was in a batch.
func (m *batchModel) arrives(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[id]; e.batch == nil {
		e.failed = time.Time{}
	}
}

func (m *batchModel) handle(ctx context.Context, messages []*stream.Message[order]) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &modelBatch{}
	for _, msg := range messages {
		b.entries = append(b.entries, m.entries[msg.ID])
	}
	m.check(ctx, b)
	for _, e := range b.entries {
		e.batch = b
	}
	if m.happens(200) {
		d := time.Duration(m.rand.Int64N(int64(50 * time.Millisecond)))
		m.mu.Unlock()
		time.Sleep(d)
		m.mu.Lock()
	}
	errs := make([]error, len(messages))
	for i, e := range b.entries {
		errs[i] = errors.New("down")
		e.failed = time.Now()
	}
	switch {
	case m.happens(m.plan.fails):
		return errs[0]
	case m.happens(m.plan.panics):
		panic("no")
	case m.happens(m.plan.exits):
		goexit()
	}
	partial := m.happens(m.plan.partials)
	for i, e := range b.entries {
		switch {
		case e.kind == "skip":
			errs[i] = stream.Skip("of no concern")
		case e.kind == "dead":
			errs[i] = stream.Permanent(errors.New("never"))
		case partial && m.rand.IntN(3) == 0:
		default:
			errs[i], e.failed = nil, time.Time{}
		}
	}
	return stream.Partial(errs)
}

// check compares a batch with the model when it is delivered.
func (m *batchModel) check(ctx context.Context, b *modelBatch) {
	for i, e := range b.entries {
		if i > 0 && e.place <= b.entries[i-1].place {
			m.problem("entry %d comes after %d in a batch", e.place, b.entries[i-1].place)
		}
		if e.passed {
			m.problem("entry %d is delivered again, after it was passed", e.place)
		}
		if e.batch != nil {
			m.checkUnit(ctx, b, e.batch)
		}
	}
	for _, e := range m.order[:b.entries[len(b.entries)-1].place] {
		if slices.Contains(b.entries, e) || m.isPassed(ctx, e) || m.plan.atOnce > 1 && (e.failed.IsZero() || e.failed.Equal(time.Now())) {
			continue // it is at work, or was when this batch began
		}
		for _, behind := range b.entries {
			if behind.place > e.place && (m.plan.ordered() || m.plan.mode == "keyed" && behind.key == e.key) {
				m.problem("entry %d is delivered before %d, %q", behind.place, e.place, e.kind)
				return
			}
		}
	}
}

// checkUnit compares a batch with one that had an entry of it.
func (m *batchModel) checkUnit(ctx context.Context, b, before *modelBatch) {
	for _, e := range before.entries {
		gone := m.isPassed(ctx, e) || !m.plan.ordered() && e.letter
		if !gone && !slices.Contains(b.entries, e) {
			m.problem("entry %d comes back without %d, which is of its batch", b.entries[0].place, e.place)
		}
	}
	for _, e := range b.entries {
		if !slices.Contains(before.entries, e) {
			m.problem("entry %d comes back with %d, which was not of its batch", before.entries[0].place, e.place)
		}
	}
}

func (m *batchModel) isPassed(ctx context.Context, e *modelEntry) bool {
	if e.passed || !e.letter {
		return e.passed
	}
	letters, _ := m.client.XRange(context.WithoutCancel(ctx), stream.DeadLetterStream(orders.Name), "-", "+").Result()
	return slices.ContainsFunc(letters, func(letter redis.XMessage) bool { return letter.Values[stream.DeadLetterID] == e.id })
}

// stopped takes back the results that a stop makes undone.
func (m *batchModel) stopped(t *testing.T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	saved, found, _ := m.store.Load(t.Context(), orders.Name)
	open := make(map[string]bool)
	if m.plan.mode == "group" && m.client.XInfoGroups(t.Context(), orders.Name).Err() == nil {
		for _, id := range pending(t, m.client) {
			open[id] = true
		}
	}
	behind := !found
	for _, e := range m.order {
		e.batch = nil
		switch passed := m.isPassed(t.Context(), e); {
		case m.plan.mode == "group" && open[e.id]:
			if e.passed {
				m.problem("entry %d was passed, and is pending", e.place)
			}
		case m.plan.mode != "group" && behind: // it comes again
			e.passed = false
		case m.plan.mode != "group" && !passed:
			m.problem("the offset has passed entry %d, which was not passed", e.place)
		default:
			e.passed = passed
		}
		e.letter, e.failed = false, time.Time{}
		behind = behind || e.id == saved
	}
}
