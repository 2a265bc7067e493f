package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// inBothModes runs a test in virtual time for each of the modes.
func inBothModes(t *testing.T, test func(t *testing.T, client *redis.Client, mode mode)) {
	t.Helper()
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) { test(t, client, mode) })
		})
	}
}

func TestHandlersRunAtOnce(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		addTo(t, client, "orders", 40)
		var working, most atomic.Int64
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			most.Store(max(most.Load(), working.Add(1)))
			time.Sleep(time.Second)
			working.Add(-1)
			return nil
		}
		start(t, mode.make(t, client, "orders", rec.Handle, stream.WithConcurrency(8), stream.WithReadCount(10)))
		begun := time.Now()
		for len(rec.Seen()) < 40 {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(begun); took > 5*time.Second || most.Load() != 8 {
			t.Errorf("40 handlers of 1s took %v, %d of them at once, want 8", took, most.Load())
		}
	})
}

// Workers leave when nothing has come for a while, and as many are there again when
// there is something for them.
func TestHandlersRunAtOnceAfterALull(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		var working, most atomic.Int64
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			most.Store(max(most.Load(), working.Add(1)))
			time.Sleep(time.Second)
			working.Add(-1)
			return nil
		}
		start(t, mode.make(t, client, "orders", rec.Handle, stream.WithConcurrency(8)))
		for i, lull := range []time.Duration{0, 500 * time.Millisecond, 1500 * time.Millisecond, time.Minute} {
			time.Sleep(lull)
			most.Store(0)
			for range 20 {
				addTo(t, client, "orders", 1)
			}
			time.Sleep(4 * time.Second)
			if n := len(rec.Seen()); n != 20*(i+1) || most.Load() != 8 {
				t.Errorf("after a lull of %v: %d of %d were handled, %d at once, want 8", lull, n, 20*(i+1), most.Load())
			}
		}
	})
}

// Entries of one key are processed one at a time and in order, whatever fails;
// those of other keys go on.
func TestOrderKey(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		const entries, keys = 2000, 20
		for i := range entries {
			addFields(t, client, "id", fmt.Sprint(rand.IntN(keys)), "amount", fmt.Sprint(i))
		}
		var mu sync.Mutex
		last, at, done := make(map[string]int), make(map[string]bool), 0
		most := 0
		handle := func(_ context.Context, msg *stream.Message[order]) error {
			key, n := msg.Value.ID, msg.Value.Amount
			mu.Lock()
			if at[key] {
				t.Errorf("two entries of key %s at once", key)
			}
			at[key] = true
			most = max(most, len(at))
			mu.Unlock()
			time.Sleep(time.Duration(rand.Int64N(int64(10 * time.Millisecond))))
			mu.Lock()
			defer mu.Unlock()
			delete(at, key)
			if rand.IntN(20) == 0 {
				return errors.New("not now")
			}
			if before, has := last[key]; has && n <= before {
				t.Errorf("key %s: %d was handled after %d", key, n, before)
			}
			last[key] = n
			done++
			return nil
		}
		start(t, mode.make(t, client, "orders", handle, stream.WithConcurrency(16), stream.WithOrderKey(stream.Field("id")),
			stream.WithReadCount(50), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: 20 * time.Millisecond})))
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if done != entries || most < 10 {
			t.Errorf("%d of %d entries were handled, at most %d at once", done, entries, most)
		}
	})
}

// One key that is stuck holds up no other, until the window is full: then reading
// pauses, and the log says why.
func TestStuckKey(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		var stuckID string
		for i := range 100 {
			id := addTo1(t, client, "orders", fmt.Sprint(i))
			if i == 5 {
				stuckID = id
			}
		}
		var out logs
		release := make(chan struct{})
		rec := newRecorder()
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID == "5" {
				<-release
			}
			return nil
		}
		stop := start(t, mode.make(t, client, "orders", rec.Handle, stream.WithLogger(out.Logger()), stream.WithConcurrency(4),
			stream.WithOrderKey(stream.Field("id")), stream.WithReadCount(10), stream.WithWindow(30)))
		time.Sleep(time.Minute)
		seen := len(rec.Seen())
		full := out.lines("WARN", "reading paused", "entry_id="+stuckID)
		if mode.name == "log" {
			// The offset is before the stuck entry: 5 entries are settled, 30 held.
			if seen < 30 || seen > 35 {
				t.Errorf("%d entries were delivered with one stuck, want those in the window, 30 to 35", seen)
			}
			if len(full) == 0 || len(full) > 6 {
				t.Errorf("%d lines in a minute say that the window is full:\n%s", len(full), out.String())
			}
		} else if seen != 100 {
			t.Errorf("%d entries were delivered with one stuck, want 100: in group mode others are acked", seen)
		}
		close(release)
		time.Sleep(time.Minute)
		if n := len(rec.Seen()); n != 100 {
			t.Errorf("%d entries were delivered in the end, want 100", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// The offset never passes an entry that is not done, in whatever order they end,
// and a consumer that is killed has no more delivered again than the window.
func TestOffsetIsTheLowMark(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		const entries, window = 3000, 64
		var ids []string
		for i := range entries {
			ids = append(ids, addTo1(t, client, "orders", fmt.Sprint(i)))
		}
		place := make(map[string]int, entries)
		for i, id := range ids {
			place[id] = i
		}
		var mu sync.Mutex
		done := make([]int, entries)
		store := &checkedStore{save: func(id string) {
			mu.Lock()
			defer mu.Unlock()
			for i := range place[id] + 1 {
				if done[i] == 0 {
					t.Errorf("the offset passed entry %d, which is not done", i)
					return
				}
			}
		}}
		again, first := 0, 0
		for first < entries {
			ctx, cancel := context.WithCancel(t.Context())
			run := make(chan struct{})
			highest := 0
			consumer := newConsumer(t, client, store, func(_ context.Context, msg *stream.Message[order]) error {
				time.Sleep(time.Duration(rand.Int64N(int64(5 * time.Millisecond))))
				mu.Lock()
				defer mu.Unlock()
				n, _ := strconv.Atoi(msg.Value.ID)
				if done[n]++; done[n] > 1 {
					again++
				}
				highest = max(highest, n)
				return nil
			}, stream.WithConcurrency(16), stream.WithReadCount(32), stream.WithWindow(window), stream.WithCheckpoint(10, time.Second))
			go func() {
				defer close(run)
				_ = consumer.Run(ctx) // it cannot save its last offset, and says so
			}()
			time.Sleep(time.Duration(rand.Int64N(int64(300 * time.Millisecond))))
			store.dead.Store(true) // from now on nothing reaches the store, as after kill -9
			saved := store.id()
			cancel()
			<-run
			store.dead.Store(false)
			if saved == "" {
				continue
			}
			first = place[saved] + 1
			if highest >= first+window {
				t.Fatalf("entry %d was delivered with the offset behind %d: more than a window of %d", highest, first-1, window)
			}
		}
		if slices.Contains(done, 0) {
			t.Errorf("entry %d was never handled", slices.Index(done, 0))
		}
		t.Logf("%d entries were handled again", again)
	})
}

// checkedStore is a store in memory that looks at what is saved.
type checkedStore struct {
	offset.Memory
	save func(id string)
	dead atomic.Bool
}

func (s *checkedStore) Save(ctx context.Context, label, id string) error {
	if s.dead.Load() {
		return errors.New("dead")
	}
	s.save(id)
	return s.Memory.Save(ctx, label, id)
}

func (s *checkedStore) id() string {
	id, _, _ := s.Load(context.Background(), "orders")
	return id
}

// With a checkpoint after every entry, each is recorded before the next is begun.
func TestCheckpointAfterEachEntry(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		var ids []string
		for i := range 50 {
			ids = append(ids, addTo1(t, client, "orders", fmt.Sprint(i)))
		}
		store := &offset.Memory{}
		rec := newRecorder()
		rec.handle = func(ctx context.Context, msg *stream.Message[order]) error {
			if n, _ := strconv.Atoi(msg.Value.ID); n > 0 {
				if id, _, _ := store.Load(ctx, "orders"); id != ids[n-1] {
					t.Errorf("entry %d is begun with the offset at %s, want %s", n, id, ids[n-1])
				}
			}
			return nil
		}
		start(t, newConsumer(t, client, store, rec.Handle, stream.WithCheckpoint(1, time.Hour)))
		time.Sleep(time.Minute)
		if n := len(rec.Seen()); n != 50 {
			t.Errorf("%d entries were delivered, want 50", n)
		}
	})
}

// Saves are batched by count and by time, and one is on its way while the next
// entries are processed.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		addTo(t, client, "orders", 100)
		store := &slowStore{takes: 25 * time.Millisecond}
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			time.Sleep(10 * time.Millisecond)
			return nil
		}
		begun := time.Now()
		stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithCheckpoint(10, time.Hour)))
		for len(rec.Seen()) < 100 {
			time.Sleep(time.Millisecond)
		}
		// One after the other they would take a quarter of a second more.
		if took := time.Since(begun); took > 1050*time.Millisecond {
			t.Errorf("100 entries of 10ms took %v: processing waits for the saves", took)
		}
		time.Sleep(time.Minute)
		if n := store.saves.Load(); n < 9 || n > 12 {
			t.Errorf("%d saves for 100 entries, want one for ten", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	bubble(t, func(t *testing.T, client *redis.Client) {
		addTo(t, client, "orders", 100)
		store := &slowStore{}
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		}
		start(t, newConsumer(t, client, store, rec.Handle, stream.WithCheckpoint(1000, 2*time.Second)))
		time.Sleep(9 * time.Second)
		if n := store.saves.Load(); n < 3 || n > 6 {
			t.Errorf("%d saves in 9s, want one every 2s", n)
		}
	})
}

// slowStore is a store whose saves take time, and are counted.
type slowStore struct {
	offset.Memory
	takes time.Duration
	saves atomic.Int64
}

func (s *slowStore) Save(ctx context.Context, label, id string) error {
	s.saves.Add(1)
	time.Sleep(s.takes)
	return s.Memory.Save(ctx, label, id)
}

// A handler that ends its goroutine, as a test's FailNow does, has failed; the
// consumer goes on.
func TestHandlerThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		addTo(t, client, "orders", 3)
		var out logs
		rec := newRecorder()
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID == "1" && msg.Deliveries < 3 {
				goexit()
			}
			return nil
		}
		stop := start(t, mode.make(t, client, "orders", rec.Handle, stream.WithLogger(out.Logger())))
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(rec.Seen()); n != 5 {
			t.Errorf("%d deliveries, want 5: %v", n, rec.Seen())
		}
		if len(out.lines("entry held", "ended its goroutine")) != 2 {
			t.Errorf("the log does not say so:\n%s", out.String())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A key function that panics puts its entries in one line, and loses nothing.
func TestOrderKeyThatPanics(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		addTo(t, client, "orders", 10)
		rec := newRecorder()
		start(t, mode.make(t, client, "orders", rec.Handle, stream.WithConcurrency(4),
			stream.WithOrderKey(func(*stream.Entry) string { panic("no key") })))
		time.Sleep(time.Minute)
		if seen := rec.Seen(); len(seen) != 10 || !slices.IsSortedFunc(seen, func(a, b string) int {
			x, _ := strconv.Atoi(a)
			y, _ := strconv.Atoi(b)
			return x - y
		}) {
			t.Errorf("delivered %v, want all in order", seen)
		}
	})
}

func TestWindowOptionsAreChecked(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	for want, opts := range map[string][]stream.Option{
		"WithWindow(0)":             {stream.WithWindow(0)},
		"WithWindow(3)":             {stream.WithWindow(3), stream.WithConcurrency(4)},
		"WithCheckpoint(0, 1s)":     {stream.WithCheckpoint(0, time.Second)},
		"WithCheckpoint(1, 0s)":     {stream.WithCheckpoint(1, 0)},
		"WithOrderKey(nil)":         {stream.WithOrderKey(nil)},
		"WithConcurrency(-1)":       {stream.WithConcurrency(-1)},
		"a consumer with a batch h": {stream.WithBatch(10, time.Second)},
	} {
		_, err := stream.NewConsumer(client, orders, &offset.Memory{}, newRecorder().Handle, opts...)
		wantProblem(t, err, want)
	}
	handle := func(context.Context, []*stream.Message[order]) error { return nil }
	_, err := stream.NewGroupBatchConsumer(client, orders, "billing", handle, stream.WithBatch(0, 0))
	wantProblem(t, err, "WithBatch(0, 0s)")
	_, err = stream.NewBatchConsumer(client, orders, &offset.Memory{}, handle, stream.WithBatch(10, time.Second), stream.WithConcurrency(2), stream.WithWindow(19))
	wantProblem(t, err, "WithWindow(19)")
	_, err = stream.NewBatchConsumer[order](client, orders, &offset.Memory{}, nil)
	wantProblem(t, err, "handler is nil")
}
