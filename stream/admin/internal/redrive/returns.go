package redrive

import (
	"context"
	"slices"
	"time"

	"millrace/offset"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/admin/internal/letters"
	"millrace/stream/internal/conn"
)

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
func (r *returns) found(letter *letters.Letter) {
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

// tooMany returns an error if more than a half of the last entries came back.
func (r *returns) tooMany(failed func(returned, of int) error) error {
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
	return failed(n, returnsOf)
}

// lookForReturns looks at the letters that are new since it was called last. Those of another
// stream than the topic are not known.
func (m *mover) lookForReturns(ctx context.Context) error {
	if m.Target != m.Topic || m.Apart {
		return nil
	}
	err := entries.Pages(ctx, m.Source, m.Dead, m.returns.after, "+", false, func(page []entries.Entry) bool {
		for _, entry := range page {
			if letter, is := letters.Of(entry); is && letter.Origin == m.Topic {
				m.returns.found(&letter)
			}
			m.returns.after = "(" + entry.ID
		}
		return true
	})
	if err != nil && passes(err) {
		return nil // it is looked for again
	}
	return conn.Explain(err)
}
