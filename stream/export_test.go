package stream

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/logmode"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/window"
)

// FeedWith has a consumer in log mode read from next, without a server, until that
// returns nothing.
func FeedWith[T any](c *Consumer[T], store offset.Store, next func() []Entry) {
	c.engine.store = store
	c.engine.open = func(_ context.Context, r *run) (mode.Mode, error) {
		m := logmode.Over(&fakeFeed{next: next}, logmode.Settings{
			Settings: r.settings(), Store: store, Label: c.engine.config.label, Resume: c.engine.resume,
		})
		m.Source = fakeSource{m.Source}
		return m, nil
	}
}

// fakeSource asks no server where to start.
type fakeSource struct{ mode.Source }

func (fakeSource) Start(context.Context) error { return nil }

// WithInspection has the place in a stream looked at more often.
func WithInspection(every time.Duration) Option {
	return option{"WithInspection", anyConsumer, func(c *config) { c.inspectEvery = every }}
}

// IsClaim reports whether a command claims entries that have been idle.
func IsClaim(cmd redis.Cmder) bool { return runs(cmd, script.Claim) }

// IsReap reports whether a command removes the names of dead consumers.
func IsReap(cmd redis.Cmder) bool {
	args := cmd.Args()
	return len(args) > 1 && args[1] == script.Reap.Hash()
}

// IsTake reports whether a command takes what was handed back.
func IsTake(cmd redis.Cmder) bool { return runs(cmd, script.TakeHandedBack) }

func runs(cmd redis.Cmder, script conn.OnceScript) bool {
	args := cmd.Args()
	return len(args) > 1 && (args[1] == script.Hash || args[1] == script.Source)
}

type fakeFeed struct {
	feed.Feed
	next func() []Entry
}

func (f *fakeFeed) Fetch(ctx context.Context, _ resp.Place, take feed.Sink, _ feed.Idle) error {
	entries := f.next()
	if len(entries) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	b := resp.Batch{}
	for _, entry := range entries {
		b.Entries = append(b.Entries, resp.Entry{ID: entry.ID, Fields: entry.Fields})
	}
	take(b, time.Now())
	return nil
}

func (f *fakeFeed) Interrupt()   {}
func (f *fakeFeed) Close() error { return nil }

// Recounter returns a function that recounts the window of the run that is at work, or
// was when it was called for the first time while there was one.
func Recounter[T any](c *Consumer[T]) func() error {
	var w *window.Window
	return func() error {
		m := &c.engine.meter
		m.mu.Lock()
		if m.run != nil {
			w = m.run.window
		}
		m.mu.Unlock()
		if w == nil {
			return nil
		}
		return w.Check()
	}
}
