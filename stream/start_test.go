package stream_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

func addWithID(t testing.TB, client redis.UniversalClient, entryID, orderID string) {
	t.Helper()
	err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: entryID, Values: []string{"id", orderID}}).Err()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	for _, id := range []string{"1000-0", "2000-0", "2000-1", "3000-5"} {
		addWithID(t, client, id, id)
	}
	for _, test := range []struct {
		name  string
		start stream.Start
		want  []string
	}{
		{"zero", stream.Start{}, []string{"1000-0", "2000-0", "2000-1", "3000-5"}},
		{"beginning", stream.FromBeginning(), []string{"1000-0", "2000-0", "2000-1", "3000-5"}},
		{"end", stream.FromEnd(), nil},
		{"after an ID", stream.FromID("2000-0"), []string{"2000-1", "3000-5"}},
		{"after an ID without sequence", stream.FromID("2000"), []string{"2000-1", "3000-5"}},
		{"after an ID that is not there", stream.FromID("2500-7"), []string{"3000-5"}},
		{"at a time", stream.FromTime(time.UnixMilli(2000)), []string{"2000-0", "2000-1", "3000-5"}},
		{"before a time", stream.FromTime(time.UnixMilli(2001)), []string{"3000-5"}},
		{"at the epoch", stream.FromTime(time.UnixMilli(0)), []string{"1000-0", "2000-0", "2000-1", "3000-5"}},
		{"long ago", stream.FromTime(time.Time{}), []string{"1000-0", "2000-0", "2000-1", "3000-5"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := &offset.Memory{}
			rec := newRecorder()
			stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithStart(test.start)))
			seen := rec.await(t, len(test.want))
			if !slices.Equal(seen, test.want) {
				t.Errorf("delivered %v, want %v", seen, test.want)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A hand-written consumer may have stored an offset in any form that Redis takes.
func TestStoredOffsetsInOtherForms(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for _, id := range []string{"1000-0", "2000-0", "2000-1"} {
		addWithID(t, client, id, id)
	}
	for stored, want := range map[string][]string{
		"0":        {"1000-0", "2000-0", "2000-1"},
		"2000":     {"2000-1"},
		"02000-00": {"2000-1"},
	} {
		rec := newRecorder()
		consumer := newConsumer(t, client, constStore{id: stored}, rec.Handle)
		stop := start(t, consumer)
		if seen := rec.await(t, len(want)); !slices.Equal(seen, want) {
			t.Errorf("from %q: delivered %v, want %v", stored, seen, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if lost := consumer.Stats().Lost; lost != 0 {
			t.Errorf("from %q: %d entries are counted as lost", stored, lost)
		}
	}
}

// The end is looked up once. What is added between two runs of a consumer that
// has not had an entry yet is delivered, also when the stream was empty.
func TestEndIsKept(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]int{"empty stream": 0, "stream with entries": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			for range before {
				add(t, client, "old")
			}
			store := &offset.Memory{}
			rec := newRecorder()
			consumer := newConsumer(t, client, store, rec.Handle, stream.WithStart(stream.FromEnd()))
			stop := start(t, consumer)
			streamtest.Await(t, "the end is stored", func() bool {
				_, found, _ := store.Load(t.Context(), "orders")
				return found
			})
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			add(t, client, "between")
			start(t, consumer)
			if seen := rec.await(t, 1); !slices.Equal(seen, []string{"between"}) {
				t.Errorf("delivered %v", seen)
			}
		})
	}
}

func TestStoredOffsetBeatsStart(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addWithID(t, client, "1-0", "a")
	addWithID(t, client, "2-0", "b")
	store := &offset.Memory{}
	if err := store.Save(t.Context(), "mine", "1-0"); err != nil {
		t.Fatal(err)
	}
	rec := newRecorder()
	start(t, newConsumer(t, client, store, rec.Handle, stream.WithLabel("mine"), stream.WithStart(stream.FromEnd())))
	if seen := rec.await(t, 1); !slices.Equal(seen, []string{"b"}) {
		t.Errorf("delivered %v", seen)
	}
}

// A start that fails half-way is told when it has worked, and not at each try.
func TestConsumerStartedIsLoggedOnce(t *testing.T) {
	t.Parallel()
	inMemory := inLogMode("log, offsets elsewhere", func(testing.TB, redis.UniversalClient) offset.Store { return &offset.Memory{} })
	for _, mode := range append(bothModes(), inMemory) {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				add(t, client, "a")
				// The first command of a start works, the others do not.
				half := redis.NewClient(optionsOf(client))
				t.Cleanup(func() { _ = half.Close() })
				away := &awayUntil{commands: []string{"xinfo", "eval", "evalsha", "xrange"}, until: time.Now().Add(12 * time.Second)}
				half.AddHook(away)
				var out logs
				rec := newRecorder()
				stop := start(t, mode.make(t, half, orders.Name, rec.Handle, stream.WithLogger(out.Logger())))
				time.Sleep(10 * time.Second)
				if n := len(out.lines("consumer started")); n != 0 || away.refused.Load() == 0 {
					t.Errorf("%d starts are told of one that has not worked in %d tries:\n%s", n, away.refused.Load(), out.String())
				}
				time.Sleep(10 * time.Second)
				started := out.lines("consumer started")
				if len(started) != 1 || len(rec.Seen()) != 1 {
					t.Errorf("%d starts are told, and %d entries delivered:\n%s", len(started), len(rec.Seen()), out.String())
				}
				if mode.name == "group" && !strings.Contains(started[0], "made_group=true") {
					t.Errorf("the group that the first try has made counts as another's: %s", started[0])
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// awayUntil is a hook of a client for which some commands fail until some time.
type awayUntil struct {
	inert
	commands []string
	until    time.Time
	refused  atomic.Int64
}

func (a *awayUntil) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if slices.Contains(a.commands, cmd.Name()) && time.Now().Before(a.until) {
			a.refused.Add(1)
			err := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}
