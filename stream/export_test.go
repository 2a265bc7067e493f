package stream

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// FeedWith has a consumer in log mode read from next, without a server, until that
// returns nothing.
func FeedWith[T any](c *Consumer[T], store offset.Store, next func() []Entry) {
	c.engine.store = store
	c.engine.open = func(_ context.Context, r *run) (source, error) {
		return fakeSource{&logSource{run: r, feed: &fakeFeed{next: next}, from: place{id: beginning}, looked: time.Now()}}, nil
	}
}

// fakeSource asks no server where to start.
type fakeSource struct{ *logSource }

func (fakeSource) start(context.Context) error { return nil }

// WithInspection has the place in a stream looked at more often.
func WithInspection(every time.Duration) Option {
	return option{"WithInspection", anyConsumer, func(c *config) { c.inspectEvery = every }}
}

// IsClaim reports whether a command claims entries that have been idle.
func IsClaim(cmd redis.Cmder) bool { return runs(cmd, claimScript) }

// IsReap reports whether a command removes the names of dead consumers.
func IsReap(cmd redis.Cmder) bool {
	args := cmd.Args()
	return len(args) > 1 && args[1] == reapScript.Hash()
}

// IsTake reports whether a command takes what was handed back.
func IsTake(cmd redis.Cmder) bool { return runs(cmd, takeScript) }

func runs(cmd redis.Cmder, script onceScript) bool {
	args := cmd.Args()
	return len(args) > 1 && (args[1] == script.hash || args[1] == script.source)
}

type fakeFeed struct {
	feed
	next func() []Entry
}

func (f *fakeFeed) fetch(ctx context.Context, _ place, take taker, _ func(context.Context) error) error {
	entries := f.next()
	if len(entries) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	take(batch{entries: slices.Clone(entries)}, time.Now()) // their memory is used again
	return nil
}

func (f *fakeFeed) interrupt()   {}
func (f *fakeFeed) close() error { return nil }
