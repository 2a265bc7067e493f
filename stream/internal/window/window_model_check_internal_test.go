package window

import (
	"cmp"
	"slices"
	"testing/synctest"
	"time"

	"millrace/stream/internal/resp"
)

// What the window is compared with, see [TestWindowAgainstAModel].

// pass lets time go by, from one moment at which an entry is due to the next.
func (m *windowModel) pass(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until) && m.problem == ""; {
		next := until
		for _, it := range m.items {
			if it.state == Waiting && it.due.Before(next) && it.due.After(time.Now()) {
				next = it.due
			}
		}
		time.Sleep(time.Until(next))
		m.rest()
	}
	if m.count(Working) == 0 && len(m.ended) > m.flight && m.flight == 0 && m.asked.Load() == 0 {
		m.wrong("nothing is at work, %d entries have ended, and no settling was requested", len(m.ended))
	}
	if d < 3*time.Second {
		return
	}
	if m.w.mu.Lock(); m.w.workers.started != m.w.workers.working && len(m.w.order.waiting) == 0 {
		m.wrong("%d workers are employed for %d entries when nothing has come for long", m.w.workers.started, m.w.workers.working)
	}
	m.w.mu.Unlock()
}

// rest waits until every goroutine has come to rest, and compares.
func (m *windowModel) rest() {
	for m.problem == "" {
		synctest.Wait()
		m.takeEvents()
		m.checkWorkers()
		m.checkSettling()
		m.checkTaker()
		m.checkNumbers()
		if !m.checkReader() {
			return
		}
		m.read()
	}
}

// takeEvents notes what the workers have begun.
func (m *windowModel) takeEvents() {
	now := time.Now()
	for _, it := range m.items {
		if it.state == Waiting && !it.due.After(now) && !m.stopped {
			it.state = Unread
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fetched = 0
	gated := m.gated()
	for _, e := range m.events {
		found := m.named([]string{e.id})
		if len(found) == 0 || gated || m.stopped || !m.mayBegin(found[0]) {
			m.wrong("%s was begun, and may not be: %+v", e.id, found)
			return
		}
		it := found[0]
		if m.plan.keys > 0 && !it.known {
			it.known = true
			m.lines[it.key] = append(m.lines[it.key], it)
		}
		if !it.loaded {
			it.loaded = true
			m.fetched += it.bytes
		}
		// It may be behind a lost entry, for a moment.
		if first := m.plan.keys == 0 || m.lines[it.key][0] == it; first != (e.job != nil) && (!first || !m.shadow) {
			m.wrong("%s is the first of its key is %t, and begun is %t", it.id, first, !first)
		}
		if e.job == nil {
			it.again = false
			continue
		}
		it.state, it.job = Working, e.job
		m.jobs = append(m.jobs, e.job)
	}
	m.events = nil
}

// gated reports whether nothing may be begun.
func (m *windowModel) gated() bool {
	return m.paused || m.stalled || len(m.ended) >= 2*m.plan.every-1 || m.plan.serial() && m.count(Writing) > 0
}

func (m *windowModel) mayBegin(it *modelItem) bool {
	switch {
	case it.state != Unread || it.lost:
		return false
	case it.again:
		return true
	case m.plan.serial() && m.count(Waiting) > 0:
		return false
	}
	return m.plan.keys == 0 || m.lines[it.key][0] == it
}

// checkWorkers finds entries that should have been begun, and those that were begun in
// the place of another one.
func (m *windowModel) checkWorkers() {
	free := m.plan.workers - m.count(Working)
	if free < 0 {
		m.wrong("%d entries are at work", m.count(Working))
	}
	if free > 0 && !m.gated() && !m.stopped && (m.plan.keys == 0 || m.count(Working, Waiting, Writing) == 0) {
		m.shadow = false
	}
	var kept *modelItem
	for _, it := range m.items {
		switch {
		case m.stopped || m.gated() || !m.mayBegin(it):
		case free > 0:
			m.wrong("%s is not begun, and may be: %+v", it.id, it)
			return
		case kept == nil:
			kept = it
		}
		// New entries are begun in the order in which they were read.
		if it.state == Working && !it.again && m.plan.keys == 0 && kept != nil && !kept.again {
			m.wrong("%s was begun before %s", it.id, kept.id)
		}
	}
}

func (m *windowModel) room() int { return m.plan.size - (len(m.items) - m.count(Parked)) }

func (m *windowModel) countAgain() (n int) {
	for _, it := range m.items {
		if it.state == Unread && it.again {
			n++
		}
	}
	return n
}

func (m *windowModel) loaded() (bytes int64) {
	for _, it := range m.items {
		if it.loaded {
			bytes += it.bytes
		}
	}
	return bytes
}

// checkReader reports whether the reader is to read now.
func (m *windowModel) checkReader() bool {
	if m.reader == nil {
		return false
	}
	goesOn, bytes := len(m.reader) > 0, m.loaded()
	if goesOn { // it may have looked before these were fetched
		bytes -= m.fetched
	}
	hasRoom := m.room() >= m.plan.batch && m.countAgain() == 0 && bytes <= int64(m.plan.bytes/2) && !m.paused
	if m.draining {
		hasRoom = len(m.items) == m.count(Parked)
	}
	if goesOn != hasRoom && (goesOn || !m.shadow) {
		m.wrong("there is room for the reader is %t, and it goes on is %t", hasRoom, goesOn)
	}
	if !goesOn {
		return false
	}
	read := <-m.reader && !m.draining
	m.reader, m.draining = nil, false
	return read
}

// checkSettling finds out whether a settling was requested when it should be.
func (m *windowModel) checkSettling() {
	newly, held := len(m.ended)-m.flight, m.held
	m.held = false
	if newly == 0 || m.flight > 0 || m.asked.Load() > 0 {
		return
	}
	switch {
	case newly >= m.plan.every:
		m.wrong("%d entries have ended, and no settling was requested", newly)
	case held:
		m.wrong("an entry is held behind %d that have ended, and no settling was requested", newly)
	case time.Since(m.endedAt) >= modelInterval:
		m.wrong("%d entries have ended for long, and no settling was requested", newly)
	case m.reader != nil && m.countAgain() == 0 && (m.draining || m.room() < m.plan.batch) && m.room()+newly >= m.plan.batch:
		m.wrong("the reader waits for room that a settling would make, and none was requested")
	}
}

// checkTaker finds out whether the claiming goroutine was told that there is room.
func (m *windowModel) checkTaker() {
	if m.armed == 0 || m.stopped {
		return
	}
	room := max(0, min(m.armed-m.countAgain(), m.armed+m.room(), 100))
	draining := m.draining && len(m.reader) == 0
	hasRoom := !m.paused && !draining && m.countAgain() == 0 && room >= (m.armed+1)/2
	told := m.told.Load()
	if told > 1 || told == 1 && !hasRoom || told == 0 && hasRoom && !m.shadow {
		m.wrong("there is room to take over %d is %t, and that was told %d times", m.armed, hasRoom, told)
	}
	if told > 0 {
		m.armed = 0
	}
}

// checkNumbers compares what the window tells of itself.
func (m *windowModel) checkNumbers() {
	if err := m.w.Check(); err != nil {
		m.wrong("%v", err)
	}
	want := InHand{
		Working: m.count(Working), Held: m.count(Waiting, Writing), Parked: m.count(Parked),
		Entries: m.plan.size - m.room(), Size: m.plan.size, Bytes: m.loaded(), SizeBytes: int64(m.plan.bytes),
	}
	if in := m.w.InHand(); in != want {
		m.wrong("in hand are %+v\nwant %+v", in, want)
	}
	oldest := ""
	for _, it := range m.items {
		if it.state != Done && it.state != Parked && !it.lost && (oldest == "" || resp.CompareIDs(it.id, oldest) < 0) {
			oldest = it.id
		}
	}
	if at := m.w.Counted().Oldest; at != oldest {
		m.wrong("the oldest entry is %q, want %q", at, oldest)
	}
}

// stop ends the run: nothing more is begun, half of the entries at work are broken off,
// and the rest is settled or handed back.
func (m *windowModel) stop() {
	if m.reader != nil {
		m.step(windowStep{what: "reader leaves"})
	}
	if m.stopped = true; m.over != nil {
		m.over()
	}
	m.w.Stop()
	m.rest()
	for i := 0; m.problem == ""; i++ {
		it := m.pick(Working, 0)
		if it == nil {
			break
		}
		m.end(it, windowStep{what: []string{"break off", "end"}[i%2]})
		m.rest()
	}
	for it := m.pick(Writing, 0); it != nil && m.problem == ""; it = m.pick(Writing, 0) {
		m.w.Written(it.job.item, Interrupted)
		it.state = Interrupted
		m.rest()
	}
	for _, job := range m.jobs { // after a problem
		job.do <- func() { m.w.End(job.item, Interrupted) }
	}
	synctest.Wait()
	m.w.Close()
	if m.problem != "" {
		return
	}
	if m.settle(time.Time{}); m.flight > 0 && m.problem == "" {
		m.w.Settled(m.flight)
		m.leaves(m.ended[:m.flight]...)
	}
	m.ended, m.flight = nil, 0
	m.rest()
	if m.w.workers.started > 0 {
		m.wrong("%d workers are employed after the stop", m.w.workers.started)
	}
	if m.plan.group {
		m.checkReturned()
	}
}

// checkReturned compares the entries that are handed back: all that are left, with the
// attempt given back that the server counts and no handler has used.
func (m *windowModel) checkReturned() {
	var want []Returned
	for _, it := range m.items {
		used := it.state == Waiting || it.state == Parked || it.state == Unread && !it.loaded && !it.free
		want = append(want, Returned{it.id, !used})
	}
	slices.SortFunc(want, func(a, b Returned) int { return resp.CompareIDs(a.ID, b.ID) })
	if list := m.leases.ToReturn(); !slices.Equal(list, want) {
		m.wrong("handed back are %v, want %v", list, want)
	}
}

func (m *windowModel) named(ids []string) (list []*modelItem) {
	for _, id := range ids {
		if i := slices.IndexFunc(m.items, func(it *modelItem) bool { return it.id == id }); i >= 0 {
			list = append(list, m.items[i])
		}
	}
	return list
}

// some returns the IDs of a few entries.
func (m *windowModel) some(s windowStep) (ids []string) {
	for i, it := range m.items {
		if s.pick>>(i%10)&1 == 1 && len(ids) <= s.n && !it.lost {
			ids = append(ids, it.id)
		}
	}
	return ids
}

// pick returns an entry in a state, nil if there is none.
func (m *windowModel) pick(in State, n int) *modelItem {
	var list []*modelItem
	for _, it := range m.items {
		if it.state == in && (in != Working || it.job != nil) {
			list = append(list, it)
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b *modelItem) int { return cmp.Compare(a.id, b.id) })
	return list[n%len(list)]
}

func (m *windowModel) count(in ...State) (n int) {
	for _, it := range m.items {
		if slices.Contains(in, it.state) {
			n++
		}
	}
	return n
}
