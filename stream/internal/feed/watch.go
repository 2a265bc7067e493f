package feed

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

// intervals is how often, in group mode, a consumer is to renew its leases, and how often
// it is to be looked whether others have left something, or something has gone.
type intervals struct{ renew, check time.Duration }

func intervalsOf(claimIdle time.Duration) intervals {
	return intervals{renew: min(time.Second, max(claimIdle/4, time.Millisecond)), check: claimIdle / 2}
}

// scheduled is the state of a member for a hub in group mode. That looks for all of them
// together, and wakes them at the same time: a thousand of which each asks for itself,
// at times of its own, are what would keep an idle process, and its server, busy.
type scheduled struct {
	every   intervals
	renewer atomic.Pointer[task.Task] // nil until there is one
	// handedBack is set when there may be something to take over, due when the
	// consumer is to look around.
	handedBack, due atomic.Bool

	// The fields below are checkStreams's own.

	looked time.Time
	state  string // of the stream and the group, "" is not known
}

func (m *scheduled) Schedule(renewer *task.Task) { m.renewer.Store(renewer) }

func (m *scheduled) request() {
	if renewer := m.renewer.Load(); renewer != nil {
		renewer.Request()
	}
}

func (m *scheduled) MayBeHandedBack() bool { return m.handedBack.Swap(false) }

func (m *scheduled) IsDue() bool { return m.due.Swap(false) }

// tick has the members renew their leases, until ctx is done.
func (h *hub) tick(ctx context.Context) {
	for task.Sleep(ctx, h.tendInterval()) {
		h.mu.Lock()
		for _, m := range h.members {
			m.request()
		}
		h.mu.Unlock()
	}
}

// tendInterval returns the shortest of the members'.
func (h *hub) tendInterval() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	shortest := time.Second
	for _, m := range h.members {
		shortest = min(shortest, m.every.renew)
	}
	return shortest
}

// checkStreams looks for work of the members, until ctx is done.
func (h *hub) checkStreams(ctx context.Context) {
	for task.Sleep(ctx, h.tendInterval()) {
		h.mu.Lock()
		members := maps.Clone(h.members)
		h.mu.Unlock()
		h.find(ctx, members, 200, h.findHandedBack, func(m *member) { m.handedBack.Store(true) })
		now := time.Now()
		maps.DeleteFunc(members, func(_ string, m *member) bool { return now.Sub(m.looked) < m.every.check })
		// Fewer, because the server lists all groups of each.
		h.find(ctx, members, 20, h.findMoved, func(m *member) { m.due.Store(true) })
	}
}

// find looks for some members at once, and has tell called for those of which something
// is found, or which cannot be asked for together: each then looks for itself, and says
// what is wrong.
func (h *hub) find(ctx context.Context, among map[string]*member, atOnce int, look func(context.Context, []*member) ([]*member, error), tell func(*member)) {
	for chunk := range slices.Chunk(slices.Collect(maps.Values(among)), atOnce) {
		found, err := look(ctx, chunk)
		if err != nil {
			found = chunk
		}
		for _, m := range found {
			tell(m)
			m.request()
		}
	}
}

// findHandedBack returns the members for which something was handed back.
func (h *hub) findHandedBack(ctx context.Context, members []*member) (found []*member, err error) {
	some, err := script.FindHandedBack.Run(ctx, h.conn.Client, streamsOf(members), h.group, script.HandedBackTo).Int64Slice()
	for _, i := range some {
		found = append(found, members[i-1])
	}
	return found, err
}

// findMoved returns the members whose stream or group is not as it was the last time,
// or has something pending.
func (h *hub) findMoved(ctx context.Context, members []*member) (found []*member, err error) {
	for len(members) > 0 {
		states, err := script.State.Run(ctx, h.conn.Client, streamsOf(members), h.group).StringSlice()
		if err != nil || len(states) == 0 {
			states = make([]string, len(members)) // each looks for itself
		}
		now := time.Now()
		for i, m := range members[:min(len(states), len(members))] {
			m.looked = now
			before := m.state
			if m.state = states[i]; m.state == "" || m.state != before {
				found = append(found, m)
			}
		}
		if members = members[min(len(states), len(members)):]; err != nil {
			return found, err
		}
	}
	return found, nil
}

func streamsOf(members []*member) []string {
	streams := make([]string, len(members))
	for i, m := range members {
		streams[i] = m.stream
	}
	return streams
}
