package stream_test

import (
	"context"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// failing is a client of which the next commands of a kind fail.
type failing struct {
	inert
	is           func(cmd redis.Cmder) bool
	left, failed atomic.Int64
}

// failingClient returns a client of the same server.
func failingClient(t *testing.T, client *redis.Client, hooks ...*failing) *redis.Client {
	t.Helper()
	own := redis.NewClient(optionsOf(client))
	for _, hook := range hooks {
		own.AddHook(hook)
	}
	t.Cleanup(func() { _ = own.Close() })
	return own
}

func (h *failing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !h.is(cmd) || h.left.Add(-1) < 0 {
			return next(ctx, cmd)
		}
		h.failed.Add(1)
		cmd.SetErr(io.ErrUnexpectedEOF)
		return io.ErrUnexpectedEOF
	}
}

// isCommand returns what is true of commands with the name.
func isCommand(name string) func(redis.Cmder) bool {
	return func(cmd redis.Cmder) bool { return cmd.Name() == name }
}

// What comes before a read, or behind it, fails once in a Runner: the next read waits for
// no entries, and the consumer is ready at once.
func TestReadyAgainWithoutANewEntry(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		const long = time.Minute
		// A look for an entry is sent three times before it has failed.
		looks, tries := &failing{is: isCommand("xrange")}, int64(3)
		if mode.name == "group" {
			looks, tries = &failing{is: isCommand("xpending")}, 1
		}
		claims := &failing{is: stream.IsClaim}
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			time.Sleep(long)
			return nil
		}
		told := &recorded{silent: true}
		consumer := mode.make(t, failingClient(t, client, looks, claims), orders.Name, rec.Handle, stream.WithObserver(told),
			stream.WithBlock(10*long), stream.WithWindow(2), stream.WithReadCount(2), stream.WithConcurrency(2), stream.WithInspection(time.Second))
		add(t, client, "a")
		add(t, client, "b")
		var r stream.Runner
		r.Add(consumer)
		stop := start(t, &r)
		// The window is full: meanwhile a look comes due and, in group mode, something that
		// was taken over does not arrive.
		time.Sleep(long / 2)
		looks.left.Store(tries)
		claims.left.Store(1)
		time.Sleep(long/2 - time.Millisecond)
		if looks.failed.Load() > 0 || mode.name == "group" && claims.failed.Load() == 0 {
			t.Fatalf("%d looks and %d claims have failed before the window had room", looks.failed.Load(), claims.failed.Load())
		}
		time.Sleep(2 * time.Second)
		if trouble := told.of("trouble reading"); len(trouble) != 1 {
			t.Errorf("told %q", told.all())
		}
		wantHealth(t, "after a look that failed", consumer.Health(), true, true, "")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What was handed back cannot be taken over for a while. That is tried again, and is one
// trouble until it works: no round in which nothing was tried says that it does.
func TestTakingOverThatFails(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		takes := &failing{is: stream.IsTake}
		leave(t, client, "millrace/handed-back", "a")
		rec := newRecorder()
		told := &recorded{silent: true}
		consumer := newGroup(t, failingClient(t, client, takes), rec.Handle, stream.WithObserver(told))
		var r stream.Runner
		r.Add(consumer)
		takes.left.Store(20)
		stop := start(t, &r)
		for takes.failed.Load() < 20 {
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		if seen := rec.Seen(); !slices.Equal(seen, []string{"a"}) {
			t.Errorf("handled %v", seen)
		}
		if trouble, over := told.of("trouble"), told.of("recovery"); len(trouble) != 1 || len(over) != 1 {
			t.Errorf("told %q and %q, want one of each", trouble, over)
		}
		wantHealth(t, "afterwards", consumer.Health(), true, true, "")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
