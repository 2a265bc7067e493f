package stream

import (
	"context"

	"millrace/stream/internal/resp"
)

// What the fields of entries take in memory, of the entries that a window holds. It
// is much more than all the rest, and is let go as soon as an entry has ended.

// intake returns what one read may bring: half of what the window may hold. The
// other half is being processed meanwhile.
func (r *run) intake() resp.Budget {
	in := resp.Budget{MaxEntry: resp.SizeLimit(r.maxEntry), Room: int64(r.window.bytes - r.window.bytes/2), Least: 1}
	if r.group && r.window.key != nil {
		in.Key = r.window.key.of
	}
	return in
}

// newFeed opens the feed of the run, whose reading ends with ctx.
func (r *run) newFeed(ctx context.Context, group, consumer string) (feed, error) {
	return openFeed(ctx, settings{
		client: r.engine.client, commands: r.conn, stream: r.stream, group: group, consumer: consumer,
		count: r.window.batch, block: r.block, inspect: r.inspectEvery, claimIdle: r.claimIdle,
		budget: r.intake(), worked: r.readWorked, guard: r.guard, hasRoomAhead: r.window.hasRoomAhead,
	})
}

// isLoadedLocked reports whether there is no room for what another read may bring.
func (w *window) isLoadedLocked() bool { return w.loaded > int64(w.bytes/2) }

// unloadLocked lets the fields of an entry go, which has ended or is not to be
// processed now.
func (w *window) unloadLocked(it *item) {
	if it.entry == nil {
		return
	}
	it.entry.Fields = nil
	if w.byID != nil {
		it.entry = nil
	}
	was := w.isLoadedLocked()
	w.loaded -= it.bytes
	it.bytes = 0
	if was && w.readerWaits && !w.isLoadedLocked() {
		w.room.Broadcast()
	}
}
