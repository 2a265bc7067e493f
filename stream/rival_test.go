package stream_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

const anotherWriter = "was moved on by another writer"

// labelled returns a consumer with the label "billing", and its log.
func labelled(t testing.TB, client redis.UniversalClient, store offset.Store, opts ...stream.Option) (*stream.Consumer[order], *logs) {
	t.Helper()
	out := &logs{}
	return newConsumer(t, client, store, newRecorder().Handle, append([]stream.Option{stream.WithLabel("billing"), stream.WithLogger(out.Logger())}, opts...)...), out
}

// addFor adds an order in each of so many seconds.
func addFor(t testing.TB, client redis.UniversalClient, seconds int) {
	t.Helper()
	for i := range seconds {
		add(t, client, fmt.Sprint(i))
		time.Sleep(time.Second)
	}
}

// stores are those that tell the offset that a Save finds, each as a function that opens it
// anew, as another process does.
func stores(t *testing.T, client *redis.Client) map[string]func() offset.Store {
	t.Helper()
	memory := &offset.Memory{}
	path := filepath.Join(t.TempDir(), "offsets.json")
	file := func() offset.Store {
		store, err := offset.NewFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	return map[string]func() offset.Store{
		"memory": func() offset.Store { return memory },
		"file":   file,
		"redis": func() offset.Store {
			store, err := offset.NewRedis(client, "")
			if err != nil {
				t.Fatal(err)
			}
			return store
		},
		"mirror":       func() offset.Store { return newMirror(t, client, file()) },
		"around other": func() offset.Store { return &flakyStoreAround{inner: file()} },
	}
}

// flakyStoreAround is a user's store around another one, whose next saves fail: half of
// them before, half after they were carried out.
type flakyStoreAround struct {
	mu    sync.Mutex // guards the fields below
	inner offset.Store
	fail  int
}

func (s *flakyStoreAround) change(inner offset.Store, fail int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inner, s.fail = inner, fail
}

func (s *flakyStoreAround) Load(ctx context.Context, label string) (string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inner.Load(ctx, label)
}

func (s *flakyStoreAround) Save(ctx context.Context, label, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.fail
	s.fail = max(0, left-1)
	if left%2 == 1 {
		return errors.New("not carried out")
	}
	err := s.inner.Save(ctx, label, id)
	if err == nil && left > 0 {
		return errors.New("the reply was lost")
	}
	return err
}

// Two consumers with one label are told of, for each store: by a warning, not more than
// twice a minute, and by Health, until one has been alone for a while.
func TestTwoConsumersOfOneLabel(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	for i, name := range []string{"memory", "file", "redis", "mirror", "around other"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := optionsOf(server.Client())
			opts.DB = i
			client := redis.NewClient(opts)
			t.Cleanup(func() { _ = client.Close() })
			open := stores(t, client)[name]
			first, firstLog := labelled(t, client, open())
			second, secondLog := labelled(t, client, open())
			stop := start(t, first)
			start(t, second)
			told := func() int { return len(firstLog.lines(anotherWriter)) + len(secondLog.lines(anotherWriter)) }
			eventually(t, "one of them notices", func() bool {
				add(t, client, "a")
				return told() > 0
			})
			wrong := first
			if len(firstLog.lines(anotherWriter)) == 0 {
				wrong = second
			}
			wantHealth(t, "with another one", wrong.Health(), true, true, `the offset "billing" was moved on by another writer`)
			for range 200 {
				add(t, client, "b")
			}
			if n := told(); n > 2 {
				t.Errorf("told %d times at once", n)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// How long it is told, and how often, in virtual time.
func TestAnotherWriterIsToldForAWhile(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		store := &offset.Memory{}
		consumer, out := labelled(t, client, store)
		start(t, consumer)
		addFor(t, client, 10)
		wantHealth(t, "alone", consumer.Health(), true, true, "")
		const minutes = 4
		for i := range 60 * minutes {
			// The other one is a millisecond ahead.
			id := fmt.Sprintf("%d-0", time.Now().Add(time.Millisecond).UnixMilli())
			if err := store.Save(t.Context(), "billing", id); err != nil {
				t.Fatal(err)
			}
			addFor(t, client, 1)
			if h := consumer.Health(); i > 2 && (!h.Ready || !strings.Contains(h.Reason, anotherWriter)) {
				t.Fatalf("%d seconds later: %+v", i, h)
			}
		}
		if n := len(out.lines("WARN", anotherWriter, `label=billing`)); n < 2*minutes-1 || n > 2*minutes+1 {
			t.Errorf("told %d times in %d minutes:\n%s", n, minutes, out)
		}
		addFor(t, client, 60)
		wantHealth(t, "a minute later", consumer.Health(), true, true, anotherWriter)
		addFor(t, client, 300)
		wantHealth(t, "six minutes later", consumer.Health(), true, true, "")
	})
}

// A reset while the consumer is at work is another writer too, and one that goes back is
// told as such.
func TestOffsetResetAtWork(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"forward": time.Millisecond, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				store := &offset.Memory{}
				consumer, out := labelled(t, client, store)
				start(t, consumer)
				addFor(t, client, 3)
				if err := store.Reset(t.Context(), "billing", fmt.Sprintf("%d-0", time.Now().Add(ahead).UnixMilli())); err != nil {
					t.Fatal(err)
				}
				addFor(t, client, 10)
				reason, forward, back := anotherWriter, 1, 0
				if name == "back" {
					reason, forward, back = "", 0, 1
				}
				wantHealth(t, "after a reset", consumer.Health(), true, true, reason)
				if n := len(out.lines("WARN", anotherWriter, "the offset was reset")); n != forward {
					t.Errorf("told of another writer %d times", n)
				}
				if n := len(out.lines("WARN", "the stored offset had gone back")); n != back {
					t.Errorf("told of a way back %d times:\n%s", n, out)
				}
			})
		})
	}
}

// No other writer is told after saves without an answer, restarts, orderly or not, late
// saves of the run before, saves of other labels, and of a store that forgets.
func TestNoOtherWriterWhereThereIsNone(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		memory := &offset.Memory{}
		other, otherLog := labelled(t, client, memory, stream.WithLabel("mail"))
		start(t, other)
		store := &flakyStoreAround{inner: memory}
		outs := []*logs{otherLog}
		for i := range 10 {
			consumer, out := labelled(t, client, store)
			outs = append(outs, out)
			stop := start(t, consumer)
			addFor(t, client, 3)
			store.change(memory, i)
			addFor(t, client, 10)
			store.change(memory, i%2) // the last save of the run
			add(t, client, "last")
			_ = stop()
			wantNoOtherWriter(t, fmt.Sprint("run ", i), consumer)
		}
		// The last save of a run that was killed comes after the next has begun.
		consumer, out := labelled(t, client, store)
		outs = append(outs, out)
		store.change(memory, 0)
		if err := memory.Save(t.Context(), "billing", fmt.Sprintf("%d-0", time.Now().UnixMilli())); err != nil {
			t.Fatal(err) // nothing is left that it could handle, and save, before that
		}
		time.Sleep(time.Second)
		start(t, consumer)
		time.Sleep(time.Second)
		if err := memory.Save(t.Context(), "billing", fmt.Sprintf("%d-0", time.Now().UnixMilli())); err != nil {
			t.Fatal(err)
		}
		addFor(t, client, 10)
		store.change(&offset.Memory{}, 0) // a server that comes back empty
		addFor(t, client, 10)
		wantNoOtherWriter(t, "at the end", consumer)
		wantNoOtherWriter(t, "the other label", other)
		for i, out := range outs {
			if found := out.lines(anotherWriter); len(found) > 0 {
				t.Errorf("consumer %d has logged %q", i, found)
			}
		}
	})
}

func wantNoOtherWriter(t testing.TB, when string, consumer *stream.Consumer[order]) {
	t.Helper()
	if h := consumer.Health(); strings.Contains(h.Reason, anotherWriter) {
		t.Errorf("%s: %+v", when, h)
	}
}
