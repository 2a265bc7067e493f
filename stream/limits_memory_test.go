package stream_test

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// heapPeak is how large the heap gets, over what it is now, until the function that
// it returns is called. It looks every half of a millisecond; a read of a megabyte
// takes about as long.
func heapPeak() (peak func() int64) {
	runtime.GC()
	debug.FreeOSMemory()
	heap := func() int64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	base, most := heap(), int64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(500 * time.Microsecond)
		defer tick.Stop()
		for {
			most = max(most, heap()-base)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-stopped
		return most
	}
}

// What a backlog of large entries takes in memory is bounded, however many of them a
// batch may have, and whoever reads.
//
// Not parallel: it looks at the memory of the whole process.
func TestMemoryOfLargeEntries(t *testing.T) {
	const entries, size, budget, most = 300, 1 << 20, 64 << 20, 160 << 20
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	large := strings.Repeat("x", size)
	for i := range entries {
		addFields(t, client, "id", strconv.Itoa(i), "amount", "1", "large", large)
	}
	for _, mode := range bothModes() {
		for how, opts := range map[string][]stream.Option{
			"one at a time":    nil,
			"concurrent":       {stream.WithConcurrency(8)},
			"in order of keys": {stream.WithConcurrency(8), stream.WithOrderKey(stream.Field("id"))},
			"in a Runner":      {stream.WithConcurrency(2)},
		} {
			t.Run(mode.name+", "+how, func(t *testing.T) {
				if err := client.Del(t.Context(), "millrace:offsets").Err(); err != nil {
					t.Fatal(err)
				}
				if err := client.XGroupDestroy(t.Context(), "orders", "billing").Err(); err != nil {
					t.Fatal(err)
				}
				var handled, window atomic.Int64
				var consumer *stream.Consumer[order]
				handle := func(context.Context, *stream.Message[order]) error {
					// The first waits until all is read, or reading has paused, so that it
					// is ahead as far as it gets.
					if handled.Add(1) == 1 {
						for s := consumer.Stats(); s.Read < entries && s.WindowBytes <= budget/2; s = consumer.Stats() {
							time.Sleep(time.Millisecond)
						}
					}
					now := consumer.Stats().WindowBytes
					for before := window.Load(); now > before && !window.CompareAndSwap(before, now); {
						before = window.Load()
					}
					return nil
				}
				peak := heapPeak()
				consumer = mode.make(t, client, "orders", handle, append(opts, stream.WithWindowBytes(budget))...)
				var running runner = consumer
				if how == "in a Runner" {
					r := &stream.Runner{}
					r.Add(consumer)
					running = r
				}
				stop := start(t, running)
				eventually(t, "all are handled", func() bool { return handled.Load() == entries })
				if err := stop(); err != nil {
					t.Error(err)
				}
				got := peak()
				t.Logf("%d entries of 1 MiB: the heap grew by %d MiB at most, with %d MiB in the window", entries, got>>20, window.Load()>>20)
				if got > most {
					t.Errorf("the heap grew by %d MiB, want %d at most", got>>20, most>>20)
				}
				if w := window.Load(); w > budget+8*(size+1000) || w < budget/4 {
					t.Errorf("%d MiB were in the window, want %d at most, and a quarter of it", w>>20, budget>>20)
				}
			})
		}
	}
}

// An entry over the limit of size takes no memory, neither where it is read nor
// where its stream is looked at, and is whole in the dead letters.
//
// Not parallel: it looks at the memory of the whole process.
func TestMemoryOfAnEntryOverTheLimit(t *testing.T) {
	const size, most = 32 << 20, 8 << 20
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	large := strings.Repeat("0123456789abcdef", size/16)
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			if err := errors.Join(client.FlushAll(t.Context()).Err(), client.ConfigResetStat(t.Context()).Err()); err != nil {
				t.Fatal(err)
			}
			addFields(t, client, "id", "a", "large", large, "a", "1", "a", "2")
			add(t, client, "b")
			addFields(t, client, "id", "c", "large", large[1:])
			rec := newRecorder()
			peak := heapPeak()
			consumer := mode.make(t, client, "orders", rec.Handle, stream.WithMaxEntryBytes(1<<20), stream.WithInspection(50*time.Millisecond),
				stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{})), stream.WithBlock(20*time.Millisecond))
			stop := start(t, consumer)
			eventually(t, "the large ones are dead letters", func() bool { return consumer.Stats().DeadLettered == 2 })
			if _, err := consumer.Lag(t.Context()); err != nil {
				t.Error(err)
			}
			eventually(t, "it has looked around", func() bool { return mode.name == "group" || looks(t, client) >= 5 })
			if err := stop(); err != nil {
				t.Error(err)
			}
			got := peak()
			t.Logf("with entries of 32 MiB, and a limit of 1 MiB, the heap grew by %d KiB at most", got>>10)
			if got > most {
				t.Errorf("the heap grew by %d MiB, want %d at most", got>>20, most>>20)
			}
			if seen := rec.Seen(); len(seen) != 1 || seen[0] != "b" {
				t.Errorf("handled %v, want b", seen)
			}
			if s := consumer.Stats(); s.Lost != 0 {
				t.Errorf("%d entries are said to be lost", s.Lost)
			}
			letters := deadLetters(t, client, "{orders}:dead")
			if len(letters) != 2 {
				t.Fatalf("%d dead letters", len(letters))
			}
			// Several are written at a time: they have no order.
			if letters[0][1] == "c" {
				slices.Reverse(letters)
			}
			for i, want := range [][]string{{"id", "a", "large", large, "a", "1", "a", "2"}, {"id", "c", "large", large[1:]}} {
				if got := letters[i][:len(letters[i])-12]; !equalTexts(got, want) {
					t.Errorf("dead letter %d is not the original", i)
				}
			}
		})
	}
}

// Where a dead letter has to pass through here, one such entry at a time is in memory.
//
// Not parallel: it looks at the memory of the whole process.
func TestMemoryOfLargeDeadLetters(t *testing.T) {
	const entries, size, most = 16, 8 << 20, 64 << 20
	client := streamtest.StartRedis(t, "--appendonly", "no", "--user", "default", "on", "nopass", "~*", "&*", "+@all", "-eval", "-evalsha").Client()
	large := strings.Repeat("x", size)
	for range entries {
		addFields(t, client, "id", "a", "large", large)
	}
	peak := heapPeak()
	consumer := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle, stream.WithMaxEntryBytes(1<<20), stream.WithConcurrency(entries),
		stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{})))
	stop := start(t, consumer)
	eventually(t, "all are dead letters", func() bool { return consumer.Stats().DeadLettered == entries })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := peak(); got > most {
		t.Errorf("with %d dead letters of 8 MiB the heap grew by %d MiB, want %d at most", entries, got>>20, most>>20)
	} else {
		t.Logf("with %d dead letters of 8 MiB the heap grew by %d MiB", entries, got>>20)
	}
}

func equalTexts(a, b []string) bool { return strings.Join(a, "\x00") == strings.Join(b, "\x00") }

// looks is how often the server was asked about a stream.
func looks(t *testing.T, client *redis.Client) (calls int) {
	t.Helper()
	_, after, _ := strings.Cut(client.Info(t.Context(), "commandstats").Val(), "cmdstat_xinfo|stream:calls=")
	number, _, _ := strings.Cut(after, ",")
	calls, _ = strconv.Atoi(number)
	return calls
}
