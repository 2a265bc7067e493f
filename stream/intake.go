package stream

import (
	"context"

	"millrace/stream/internal/feed"
	"millrace/stream/internal/resp"
)

// intake returns the budget of one read: half of that of the window. The
// other half is being processed meanwhile.
func (r *run) intake() resp.Budget {
	in := resp.Budget{MaxEntry: resp.SizeLimit(r.maxEntry), Room: int64(r.window.Bytes - r.window.Bytes/2), Least: 1}
	if r.group && r.window.Key != nil {
		in.Key = r.window.Key.Of
	}
	return in
}

// newFeed opens the feed of the run, whose reading ends with ctx.
func (r *run) newFeed(ctx context.Context, group, consumer string) (feed.Feed, error) {
	return feed.Open(ctx, feed.Settings{
		Client: r.engine.client, Commands: r.conn, Stream: r.stream, Group: group, Consumer: consumer,
		Count: r.window.Batch, Block: r.block, Inspect: r.inspectEvery, ClaimIdle: r.claimIdle,
		Budget: r.intake(), Worked: r.readWorked, Guard: r.guard, HasRoomAhead: r.window.HasRoomAhead,
	})
}
