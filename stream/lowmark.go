package stream

import (
	"context"
	"slices"
)

// lowMark is the ledger of log mode: the entries in the order of the stream. The first of them
// that have ended may be settled; the last of those is the low mark. The window's lock
// guards it.
type lowMark struct {
	w     *window
	line  []*item
	ended int // how many of line have ended, from the first on
}

func (m *lowMark) add(it *item) bool {
	m.line = append(m.line, it)
	return true
}

func (m *lowMark) len() int { return len(m.line) }

func (m *lowMark) end(*item) {
	for m.ended < len(m.line) && m.line[m.ended].state == done {
		m.ended++
	}
}

func (m *lowMark) settleable() []*item { return m.line[:m.ended:m.ended] }

func (m *lowMark) settled(n int, drop func(*item)) {
	m.line, m.ended = dropFirst(m.line, n, drop), m.ended-n
}

func (m *lowMark) remove(it *item) {
	at := slices.Index(m.line, it)
	if at < m.ended {
		m.ended--
	}
	m.line = slices.Delete(m.line, at, at+1)
	m.end(nil)
}

func (m *lowMark) blocking(fields bool) *item {
	if fields && m.ended < len(m.line) {
		return m.line[m.ended]
	}
	if len(m.line) > 0 {
		return m.line[0]
	}
	return nil
}

func (m *lowMark) oldest() string {
	if m.ended < len(m.line) {
		return m.line[m.ended].id
	}
	return ""
}

// drain waits until all entries have ended and are settled. It is for the reader, which
// adds nothing meanwhile.
func (m *lowMark) drain(ctx context.Context) error {
	w := m.w
	defer context.AfterFunc(ctx, w.wakeReader)()
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(m.line) > 0 && ctx.Err() == nil {
		if w.checkpoint.newly() > 0 {
			w.settle()
		}
		w.budget.draining = true
		w.budget.room.Wait()
	}
	w.budget.draining = false
	return ctx.Err()
}

// standing is where the reader is: the entry that was read last, the first that is not
// done, how many entries that were, and how many of them are not done.
type standing struct {
	position, oldest string
	read, undone     int64
}

func (m *lowMark) standing() standing {
	w := m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	at := standing{position: w.counts.position, oldest: m.oldest(), read: w.counts.read}
	for _, it := range m.line[m.ended:] {
		if it.state != done {
			at.undone++
		}
	}
	return at
}
