package stream_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// addLarge adds n orders of ten thousand bytes each.
func addLarge(t testing.TB, client redis.UniversalClient, n int) (ids []string) {
	t.Helper()
	for i := range n {
		ids = append(ids, addFields(t, client, "id", fmt.Sprint(i), "pad", strings.Repeat("x", 9_900)))
	}
	return ids
}

// Reading pauses when what is held has so many bytes, and goes on; nothing is lost by
// it, and the log and observers are told what is in the way.
func TestWindowBytes(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		const budget = 100_000
		ids := addLarge(t, client, 200)
		var out logs
		full := &fullKeeper{}
		release := make(chan struct{})
		rec := newRecorder()
		var handled []int
		var consumer *stream.Consumer[order]
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			<-release
			if b := consumer.Stats().WindowBytes; b > budget+11_000 {
				t.Errorf("%d bytes are in the window", b)
			}
			n, _ := strconv.Atoi(msg.Value.ID)
			handled = append(handled, n)
			return nil
		}
		consumer = mode.make(t, client, "orders", rec.Handle, stream.WithWindowBytes(budget), stream.WithLogger(out.Logger()), stream.WithObserver(full))
		stop := start(t, consumer)
		time.Sleep(time.Minute)
		s := consumer.Stats()
		if mode.name == "log" {
			if s.WindowBytes <= budget/2 || s.WindowBytes > budget || s.Window != int(s.Read) || s.Window > 10 || s.WindowSizeBytes != budget {
				t.Errorf("%+v", s)
			}
			if len(out.lines("WARN", "reading paused", "full of large entries", "at work", "entry_id="+ids[0], fmt.Sprint("bytes=", s.WindowBytes), "window_bytes=100000")) == 0 {
				t.Errorf("the log is\n%s", out.String())
			}
			if told := full.first(); told.EntryID != ids[0] || told.Bytes != s.WindowBytes || told.SizeBytes != budget {
				t.Errorf("told was %+v", told)
			}
			if h := consumer.Health(); !h.Ready {
				t.Errorf("%+v", h)
			}
		} else if s.Window != 200 || s.WindowBytes > budget/2 || s.WindowBytes < budget/4 {
			// All are pending on it, and few of them in memory.
			t.Errorf("%+v", s)
		}
		close(release)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(handled) != 200 || !slices.IsSorted(handled) {
			t.Errorf("handled %v", handled)
		}
		if s := consumer.Stats(); s.Read != 200 || s.Handled != 200 {
			t.Errorf("%+v", s)
		}
	})
}

// fullKeeper keeps what it is told of full windows.
type fullKeeper struct {
	mu  sync.Mutex
	all []stream.WindowFull
}

func (f *fullKeeper) OnFull(event stream.WindowFull) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, event)
}

func (f *fullKeeper) first() (event stream.WindowFull) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) > 0 {
		event = f.all[0]
	}
	return event
}

// Entries of one key are in order also where what was read does not fit, in group
// mode, and is fetched when it is begun.
func TestWindowBytesKeepOrder(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		const entries, keys = 2000, 20
		for i := range entries {
			pad := rand.IntN(300)
			if i/100%2 == 0 {
				pad *= 100
			}
			addFields(t, client, "id", fmt.Sprint(rand.IntN(keys)), "amount", fmt.Sprint(i), "pad", strings.Repeat("x", pad))
		}
		var mu sync.Mutex
		last, at, done := make(map[string]int), make(map[string]bool), 0
		handle := func(_ context.Context, msg *stream.Message[order]) error {
			key, n := msg.Value.ID, msg.Value.Amount
			mu.Lock()
			if at[key] {
				t.Errorf("two entries of key %s at once", key)
			}
			at[key] = true
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
		consumer := mode.make(t, client, "orders", handle, stream.WithConcurrency(16), stream.WithOrderKey(stream.Field("id")),
			stream.WithWindowBytes(200_000), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: 20 * time.Millisecond}))
		start(t, consumer)
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if done != entries {
			t.Errorf("%d of %d entries were handled", done, entries)
		}
		if s := consumer.Stats(); s.Window != 0 || s.WindowBytes != 0 {
			t.Errorf("in the end %d entries of %d bytes are in the window", s.Window, s.WindowBytes)
		}
	})
}

// An entry that is larger than all that may be held is handled nevertheless.
func TestEntriesLargerThanTheWindow(t *testing.T) {
	t.Parallel()
	for _, bytes := range []int{1, 15_000} {
		inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
			addLarge(t, client, 50)
			rec := newRecorder()
			stop := start(t, mode.make(t, client, "orders", rec.Handle, stream.WithWindowBytes(bytes)))
			time.Sleep(time.Minute)
			if err := stop(); err != nil {
				t.Error(err)
			}
			if seen := rec.Seen(); len(seen) != 50 || seen[49] != "49" {
				t.Errorf("with %d bytes: handled %v", bytes, seen)
			}
		})
	}
}

// What has ended takes no memory, and is in nobody's way but for its number, however
// long it waits for one before it.
func TestEndedEntriesHaveNoBytes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		addLarge(t, client, 300)
		release := make(chan struct{})
		rec := newRecorder()
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID == "3" {
				<-release
			}
			return nil
		}
		consumer := newConsumer(t, client, &checkedStore{save: func(string) {}}, rec.Handle, stream.WithConcurrency(2), stream.WithOrderKey(stream.Field("id")),
			stream.WithWindowBytes(50_000), stream.WithReadCount(20), stream.WithWindow(100), stream.WithCheckpoint(1000, time.Hour))
		stop := start(t, consumer)
		time.Sleep(time.Minute)
		if s := consumer.Stats(); len(rec.Seen()) < 80 || s.Window < 80 || s.WindowBytes > 11_000 {
			t.Errorf("%d were delivered, and %d with %d bytes are in the window", len(rec.Seen()), s.Window, s.WindowBytes)
		}
		close(release)
		time.Sleep(time.Minute)
		if n := len(rec.Seen()); n != 300 {
			t.Errorf("%d were delivered in the end, want 300", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// That the reader waits for bytes, which no saving of an offset frees, is no reason to
// save one for each entry.
func TestWindowBytesDoNotHurrySaves(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		addLarge(t, client, 200)
		store := &slowStore{}
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			time.Sleep(time.Millisecond)
			return nil
		}
		stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithWindowBytes(50_000), stream.WithCheckpoint(50, time.Hour)))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := store.saves.Load(); len(rec.Seen()) != 200 || n > 10 {
			t.Errorf("%d saves for %d entries, want one for 50", n, len(rec.Seen()))
		}
	})
}

// What is held in group mode is fetched again when it is due, and takes no memory
// until then.
func TestHeldEntriesOfAGroupHaveNoBytes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		addLarge(t, client, 100)
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error { return errors.New("not now") }
		consumer := newGroup(t, client, rec.Handle, stream.WithWindowBytes(50_000), stream.WithBackoff(stream.Backoff{Min: time.Hour, Max: time.Hour}))
		stop := start(t, consumer)
		time.Sleep(time.Minute)
		if s := consumer.Stats(); len(rec.Seen()) != 100 || s.Held != 100 || s.WindowBytes != 0 {
			t.Errorf("%d were delivered, %d are held with %d bytes", len(rec.Seen()), s.Held, s.WindowBytes)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// counts keeps with what COUNT a client, and those derived from it, ask for entries.
type counts struct {
	mu      sync.Mutex
	reads   []int // XREAD and XREADGROUP, in their order
	without []string
}

// of returns a client that is looked at.
func (c *counts) of(t *testing.T, client *redis.Client) *redis.Client {
	opts := *client.Options()
	dial := opts.Dialer
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &countsConn{Conn: conn, counts: c}, err
	}
	client = redis.NewClient(&opts)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

type countsConn struct {
	net.Conn
	counts *counts
}

func (c *countsConn) Write(p []byte) (int, error) {
	words := strings.Split(string(p), "\r\n")
	if at := slices.Index(words, "xreadgroup"); at > 2 { // behind a guard
		words = words[at-2:]
	}
	if len(words) > 2 {
		c.counts.note(words)
	}
	return c.Conn.Write(p)
}

func (c *counts) note(words []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	command := strings.ToLower(words[2])
	at := slices.IndexFunc(words, func(word string) bool { return strings.EqualFold(word, "count") })
	switch command {
	case "xread", "xreadgroup":
		if at > 0 {
			n, _ := strconv.Atoi(words[at+2])
			c.reads = append(c.reads, n)
		}
	case "xrange", "xrevrange":
	default:
		return
	}
	if at < 0 {
		c.without = append(c.without, command)
	}
}

// since returns the reads from the nth on.
func (c *counts) since(n int) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.reads[n:])
}

// Entries are asked for by a COUNT that follows their size, so that what a read
// brings fits: down at once, and up again in steps.
func TestCountFollowsTheSizeOfEntries(t *testing.T) {
	t.Parallel()
	for _, mode := range bothModes() {
		for _, how := range []string{"alone", "in a Runner"} {
			t.Run(mode.name+", "+how, func(t *testing.T) {
				t.Parallel()
				// Room for ten of the large ones, and half of that for a read.
				const budget, batch = 101_000, 100
				server := streamtest.StartRedis(t).Client()
				var sent counts
				client := sent.of(t, server)
				var handled atomic.Int64
				consumer := mode.make(t, client, "orders", func(context.Context, *stream.Message[order]) error {
					handled.Add(1)
					return nil
				}, stream.WithWindowBytes(budget), stream.WithReadCount(batch), stream.WithBlock(50*time.Millisecond))
				addLarge(t, server, 60)
				var running runner = consumer
				if how == "in a Runner" {
					r := &stream.Runner{}
					r.Add(consumer)
					running = r
				}
				stop := start(t, running)
				eventually(t, "the large ones are handled", func() bool { return handled.Load() == 60 })
				first := sent.since(0)
				if first[0] < batch || first[0] > batch+1 {
					t.Errorf("the first read has COUNT %d, want %d", first[0], batch)
				}
				alone := func(reads []int) []int { // those that wait in a Runner have the read count
					return slices.DeleteFunc(reads, func(n int) bool { return how == "in a Runner" && n == batch })
				}
				if mode.name == "log" { // in group mode that read has brought them all
					small := alone(first[1:])
					if len(small) < 10 || slices.Max(small) > 6 {
						t.Errorf("behind large entries the reads have COUNT %v, want about a dozen of 5, and one for the entry before", small)
					}
				}
				before := len(sent.since(0))
				pipe := server.Pipeline()
				for i := range 3000 {
					pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "orders", Values: []string{"id", fmt.Sprint(i), "amount", "1"}})
				}
				if _, err := pipe.Exec(t.Context()); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the small ones are handled", func() bool { return handled.Load() == 3060 })
				if err := stop(); err != nil {
					t.Error(err)
				}
				grown := alone(sent.since(before))
				at := 5
				if how == "in a Runner" {
					at = grown[0] // it has learnt from what came while it waited
				}
				for _, n := range grown {
					if n > 2*at+1 {
						t.Errorf("COUNT goes from %d to %d: %v", at, n, grown)
					}
					at = n
				}
				if most := slices.Max(grown); how == "alone" && (most < batch || most > batch+1) {
					t.Errorf("behind small entries the reads have COUNT %v, want %d in the end", grown, batch)
				}
				if len(sent.without) > 0 {
					t.Errorf("sent without COUNT: %v", sent.without)
				}
			})
		}
	}
}
