package stream_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// An error of a hook passes some looks, and panics at a later one. Wherever that is, it
// ends no goroutine of a Runner, and with it the process.
func TestErrorsThatPanicLater(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		hook := &moodyHook{}
		moody := redis.NewClient(optionsOf(client))
		moody.AddHook(hook)
		t.Cleanup(func() { _ = moody.Close() })
		var handled Counts
		var r stream.Runner
		r.Add(mode.make(t, moody, "orders", handled.Handle))
		stop := start(t, &r)
		time.Sleep(time.Minute)
		hook.begin()
		time.Sleep(2 * time.Minute)
		failed := hook.end()
		if failed < 250 {
			t.Errorf("only %d commands have failed", failed)
		}
		addTo(t, client, "orders", 5)
		time.Sleep(time.Minute)
		if n := handled.distinct(); n != 5 {
			t.Errorf("handled %d entries, want 5", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// moodyHook fails all commands between begin and end. The errors of each kind of command
// are of all degrees of patience, one after the other.
type moodyHook struct {
	inert
	mu     sync.Mutex
	failed map[any]int64 // by command; nil is none fails
}

func (h *moodyHook) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = make(map[any]int64)
}

func (h *moodyHook) end() (all int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.failed {
		all += n
	}
	h.failed = nil
	return all
}

func (h *moodyHook) next(cmd redis.Cmder) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil {
		return nil
	}
	kind := any(cmd.Name())
	if args := cmd.Args(); len(args) > 1 {
		kind = args[1] // of a script, which it is
	}
	h.failed[kind]++
	return &moody{patience: h.failed[kind] % 16}
}

func (h *moodyHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := h.next(cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}
