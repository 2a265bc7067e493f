package redrive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/stream"
	"millrace/stream/admin/internal/entries"
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
// error is that of Returned if entries fail again, or says that a reader has gone.
func (m *mover) await(ctx context.Context) (int, error) {
	p := &m.pace
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		now := time.Now()
		if now.Sub(m.returns.looked) >= returnsEvery {
			m.returns.looked = now
			if err := errors.Join(m.lookForReturns(ctx), m.returns.tooMany(m.Returned)); err != nil {
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
	seen := m.Look(ctx)
	if seen.Err != nil && conn.Unanswered(seen.Err) {
		p.asked = time.Time{} // moving a page waits for the server
		if p.behind > 0 {
			return persist(ctx, m.Client, patience, func(ctx context.Context) error { return m.Look(ctx).Err }, func() {})
		}
		return nil
	}
	if what := m.Vanished(seen); what != "" {
		return errors.New(what + ", so that nobody would handle the entries")
	}
	if p.behind == 0 {
		return nil
	}
	if seen.Err != nil {
		return fmt.Errorf("WaitWhileBehind: %w", seen.Err)
	}
	return m.measure(ctx, seen)
}

// measure finds out how far the readers are behind, and how many letters there is room for.
func (m *mover) measure(ctx context.Context, seen Readers) error {
	p := &m.pace
	p.lag = 0
	for name, group := range seen.Groups {
		if m.Addresses[stream.Identity{Group: name}.Address()] == 0 && m.To != Everybody {
			continue
		}
		behind := group.Behind
		if behind < 0 { // Redis does not know
			var err error
			if behind, err = m.countAfter(ctx, group.Last, p.behind); err != nil {
				return fmt.Errorf("WaitWhileBehind: %w", conn.Explain(err))
			}
			behind += group.Pending
		}
		p.lag = max(p.lag, behind)
	}
	p.room = max(1, p.behind-p.lag)
	return nil
}

// countAfter returns how many entries the target has behind one, or some number above most.
func (m *mover) countAfter(ctx context.Context, id string, most int64) (n int64, err error) {
	err = entries.Pages(ctx, m.Client, m.Target, "("+id, "+", false, func(page []entries.Entry) bool {
		n += int64(len(page))
		return n <= most
	})
	return n, err
}

// forGroups reports whether a group gets entries of the plan.
func (m *mover) forGroups() bool {
	if m.To == Everybody {
		return len(m.Seen.Groups) > 0
	}
	for address := range m.Addresses {
		if name, is := strings.CutPrefix(address, "group:"); is && m.Seen.Has(name) {
			return true
		}
	}
	return false
}

// tell reports the progress.
func (m *mover) tell(waiting string) {
	m.reported = time.Now()
	m.Tell(Progress{Done: m.moved + m.unsure, Behind: m.pace.lag, Returned: m.returns.count, Waiting: waiting})
}
