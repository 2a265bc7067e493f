package window

import "slices"

// LowMark is the ledger of log mode: the entries in the order of the stream. The first of them
// that have ended may be settled; the last of those is the low mark. The window's lock
// guards it.
type LowMark struct {
	w     *Window
	line  []*Item
	ended int // how many of line have ended, from the first on
}

func (m *LowMark) add(it *Item) bool {
	m.line = append(m.line, it)
	return true
}

func (m *LowMark) len() int { return len(m.line) }

func (m *LowMark) end(*Item) {
	for m.ended < len(m.line) && m.line[m.ended].state == Done {
		m.ended++
	}
}

func (m *LowMark) settleable() []*Item { return m.line[:m.ended:m.ended] }

func (m *LowMark) settled(n int, drop func(*Item)) {
	m.line, m.ended = dropFirst(m.line, n, drop), m.ended-n
}

func (m *LowMark) remove(it *Item) {
	at := slices.Index(m.line, it)
	if at < m.ended {
		m.ended--
	}
	m.line = slices.Delete(m.line, at, at+1)
	m.end(nil)
}

func (m *LowMark) blocking(fields bool) *Item {
	if fields && m.ended < len(m.line) {
		return m.line[m.ended]
	}
	if len(m.line) > 0 {
		return m.line[0]
	}
	return nil
}

func (m *LowMark) oldest() string {
	if m.ended < len(m.line) {
		return m.line[m.ended].ID
	}
	return ""
}

// Standing is where the reader is: the entry that was read last, the first that is not
// done, how many entries that were, and how many of them are not done.
type Standing struct {
	Position, Oldest string
	Read, Undone     int64
}

// Standing returns where the reader is. It looks at each entry behind the low mark.
func (m *LowMark) Standing() Standing {
	w := m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	at := Standing{Position: w.counts.Position, Oldest: m.oldest(), Read: w.counts.Read}
	for _, it := range m.line[m.ended:] {
		if it.state != Done {
			at.Undone++
		}
	}
	return at
}
