package later

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/task"
)

// Watch looks for many sorted sets of one client at once whether something in them is due, and
// requests the tasks that move it. One for all consumers of a Runner keeps a thousand idle topics
// from asking a thousand times a second.
//
// Its goroutine exists only while it looks. mu guards the members, and may be taken while no other
// lock is held; the lock of a task may be taken under it.
type Watch struct {
	client redis.UniversalClient
	task   task.Task
	end    context.CancelFunc

	mu      sync.Mutex
	members map[*MoveTask]struct{}
}

// NewWatch returns a watch that looks when it has members, until End is called.
func NewWatch(client redis.UniversalClient) *Watch {
	w := &Watch{client: client, members: make(map[*MoveTask]struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	w.end = cancel
	w.task.Do = w.look
	w.task.Begin(ctx)
	return w
}

// End ends the looks. It waits for one that is on its way.
func (w *Watch) End() {
	w.end()
	w.task.Stop()
}

func (w *Watch) add(m *MoveTask) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members[m] = struct{}{}
	w.task.In(rand.N(leastWait)) // others begin at the same time
}

func (w *Watch) remove(m *MoveTask) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.members, m)
}

// within has a look begin after the given time at the latest.
func (w *Watch) within(d time.Duration) { w.task.In(max(leastWait, d)) }

// look looks once, and says when the next look is due.
func (w *Watch) look(ctx context.Context) {
	now := time.Now()
	w.mu.Lock()
	members := slices.Collect(maps.Keys(w.members))
	w.mu.Unlock()
	if len(members) == 0 {
		return // the next member has it begin again
	}
	wait := mostWait
	ready := slices.DeleteFunc(members, func(m *MoveTask) bool { return !m.isReady(now) })
	for _, chunk := range bySlot(w.client, ready, func(m *MoveTask) string { return m.key }) {
		keys := make([]string, len(chunk))
		for i, m := range chunk {
			keys[i] = m.key
		}
		waits, err := Look(ctx, w.client, keys)
		if ctx.Err() != nil {
			return
		}
		refused := conn.Classify(err).Ends(true)
		for i, m := range chunk {
			switch {
			case err != nil && !refused: // others find out about an outage
			case refused, waits[i] == 0, m.failed.Load(): // of a refusal, each finds out by itself whether it is meant
				m.Task.Request()
			case waits[i] > 0:
				wait = min(wait, waits[i])
			}
		}
	}
	w.within(wait - rand.N(wait/10+1))
}

// bySlot returns lists of no more than lookMost, each of which one script may look at: in a cluster
// their keys are in one slot.
func bySlot[T any](client redis.UniversalClient, all []T, keyOf func(T) string) (lists [][]T) {
	_, cluster := client.(*redis.ClusterClient)
	open := make(map[string]int)
	for _, one := range all {
		slot := ""
		if cluster {
			slot = conn.HashTag(keyOf(one))
		}
		at, has := open[slot]
		if !has || len(lists[at]) == lookMost {
			at = len(lists)
			open[slot] = at
			lists = append(lists, nil)
		}
		lists[at] = append(lists[at], one)
	}
	return lists
}
