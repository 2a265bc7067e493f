package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/task"
)

// pace says how many letters may be moved now.
type pace struct {
	rate   int // a second; 0 is as many as go
	behind int64
	// due is when the next page may be moved, as the rate has it.
	due time.Time
	// asked is when the readers were looked at last; lag is how far the last of them was
	// behind then, -1 if that is not known.
	asked time.Time
	lag   int64
	// room is how many may be moved until the readers are asked again.
	room int64
}

const (
	// askEvery is how often readers are looked at, and returnsEvery letters that came back.
	askEvery     = time.Second
	returnsEvery = 200 * time.Millisecond
	// askSoonest is how soon that is done again where a reader keeps up.
	askSoonest = 100 * time.Millisecond
	// burst is how long a redrive that was held up may make up for it.
	burst = time.Second
)

// size returns how many letters a page has: with a rate, those of a quarter of a second.
func (p *pace) size() int {
	n := pageMost
	if p.rate > 0 {
		n = max(1, min(p.rate/4, n))
	}
	if p.behind > 0 {
		n = int(min(int64(n), p.room))
	}
	return n
}

// moved counts a page.
func (p *pace) moved(n int, now time.Time) {
	p.room -= int64(n)
	if p.rate <= 0 {
		return
	}
	if p.due.IsZero() {
		p.due = now
	}
	if earliest := now.Add(-burst); p.due.Before(earliest) {
		p.due = earliest
	}
	p.due = p.due.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
}

// await waits until letters may be moved, and returns how many. It also looks around: the
// error is a [*ReturnedError] if entries fail again, or says that a reader has gone.
func (m *mover) await(ctx context.Context) (int, error) {
	p := &m.pace
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		now := time.Now()
		if now.Sub(m.returns.looked) >= returnsEvery {
			m.returns.looked = now
			if err := errors.Join(m.lookForReturns(ctx), m.returns.tooMany()); err != nil {
				return 0, err
			}
		}
		if now.Sub(p.asked) >= askEvery || p.behind > 0 && p.room <= 0 && now.Sub(p.asked) >= askSoonest {
			if err := m.lookAround(ctx, now); err != nil {
				return 0, err
			}
		}
		wait := time.Until(p.due)
		switch {
		case p.behind > 0 && p.lag > p.behind:
			wait = time.Until(p.asked.Add(askEvery))
			m.tell(fmt.Sprintf("the reader is %d entries behind", p.lag))
		case p.behind > 0 && p.room <= 0:
			wait = time.Until(p.asked.Add(askSoonest))
		case wait <= 0:
			return p.size(), nil
		}
		task.Sleep(ctx, max(wait, time.Millisecond))
	}
}

// lookAround looks at the readers of the target.
func (m *mover) lookAround(ctx context.Context, now time.Time) error {
	p := &m.pace
	p.asked = now
	seen := m.look(ctx)
	if seen.err != nil && conn.Unanswered(seen.err) {
		p.asked = time.Time{} // moving a page waits for the server
		if p.behind > 0 {
			return persist(ctx, m.client, patience, func(ctx context.Context) error { return m.look(ctx).err }, func() {})
		}
		return nil
	}
	if what := m.vanished(m.seen, seen); what != "" {
		return errors.New(what + ", so that nobody would handle the entries")
	}
	if p.behind == 0 {
		return nil
	}
	if seen.err != nil {
		return fmt.Errorf("WaitWhileBehind: %w", seen.err)
	}
	return m.measure(ctx, seen)
}

// measure finds out how far the readers are behind, and how many letters there is room for.
func (m *mover) measure(ctx context.Context, seen readersSeen) error {
	p := &m.pace
	p.lag = 0
	for name, group := range seen.groups {
		if m.readers[stream.Identity{Group: name}.Address()] == 0 && !m.cfg.Everybody {
			continue
		}
		behind := group.behind
		if behind < 0 { // Redis does not know
			var err error
			if behind, err = m.countAfter(ctx, group.last, p.behind); err != nil {
				return fmt.Errorf("WaitWhileBehind: %w", conn.Explain(err))
			}
			behind += group.pending
		}
		p.lag = max(p.lag, behind)
	}
	p.room = max(1, p.behind-p.lag)
	return nil
}

// countAfter returns how many entries the target has behind one, or some number above most.
func (m *mover) countAfter(ctx context.Context, id string, most int64) (n int64, err error) {
	err = rawPages(ctx, m.client, m.target, "("+id, "+", false, func(page []rawEntry) bool {
		n += int64(len(page))
		return n <= most
	})
	return n, err
}

// forGroups reports whether a group gets entries of the plan.
func (m *mover) forGroups() bool {
	if m.cfg.Everybody {
		return len(m.seen.groups) > 0
	}
	for address := range m.readers {
		if name, is := strings.CutPrefix(address, "group:"); is && m.seen.has(name) {
			return true
		}
	}
	return false
}

// tell reports the progress.
func (m *mover) tell(waiting string) {
	m.reported = time.Now()
	if m.doing.progress == nil {
		return
	}
	m.doing.progress(Progress{
		Done: m.moved + m.unsure, Of: int64(len(m.planned)), Behind: m.pace.lag, Returned: m.returns.count, Waiting: waiting,
	})
}

// ReturnedError says that a redrive was stopped because its entries fail again: it comes from
// [Plan.Do]. Mend the cause first; the letters that are left are still there.
type ReturnedError struct {
	// Returned of the last Of entries that their reader has got to came back as letters.
	Returned, Of int
}

func (e *ReturnedError) Error() string {
	return fmt.Sprintf("%d of the last %d entries have come back as dead letters: they fail again; mend the cause first", e.Returned, e.Of)
}

// returnsOf is of how many entries more than the half must not come back.
const returnsOf = 100

// returns finds the entries of a redrive that have become letters again.
type returns struct {
	after  string // where the letters begin that are not looked at yet, as XRANGE takes it
	looked time.Time
	// moved are the entries, in the order of their IDs, and back whether each has come back.
	moved []offset.ID
	back  []bool
	reach int // how many of them the reader has got to: up to the last that has come back
	count int64
}

// expect notes an entry.
func (r *returns) expect(id string) {
	parsed, err := offset.Parse(id)
	if n := len(r.moved); err == nil && (n == 0 || r.moved[n-1].Compare(parsed) < 0) {
		r.moved, r.back = append(r.moved, parsed), append(r.back, false)
	}
}

// found notes a letter that is newer than those of the plan.
func (r *returns) found(letter *Letter) {
	id, err := offset.Parse(letter.EntryID)
	if err != nil {
		return
	}
	at, is := slices.BinarySearchFunc(r.moved, id, offset.ID.Compare)
	if !is || r.back[at] {
		return
	}
	r.back[at] = true
	r.count++
	r.reach = max(r.reach, at+1)
}

// tooMany returns a [*ReturnedError] if more than a half of the last entries came back.
func (r *returns) tooMany() error {
	if r.reach < returnsOf {
		return nil
	}
	n := 0
	for _, back := range r.back[r.reach-returnsOf : r.reach] {
		if back {
			n++
		}
	}
	if 2*n <= returnsOf {
		return nil
	}
	return &ReturnedError{Returned: n, Of: returnsOf}
}

// lookForReturns looks at the letters that are new since it was called last. Those of another
// stream than the topic are not known.
func (m *mover) lookForReturns(ctx context.Context) error {
	if m.target != m.topic || m.cfg.Client != nil {
		return nil
	}
	err := rawPages(ctx, m.admin.client, m.dead, m.returns.after, "+", false, func(page []rawEntry) bool {
		for _, entry := range page {
			if letter, is := letterOf(m.dead, entry); is && letter.Reader.Stream == m.topic {
				m.returns.found(&letter)
			}
			m.returns.after = "(" + entry.id
		}
		return true
	})
	if err != nil && passes(err) {
		return nil // it is looked for again
	}
	return conn.Explain(err)
}
