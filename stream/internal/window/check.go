package window

import (
	"errors"
	"fmt"
)

// Check counts anew, and returns an error for each counter of the window that is wrong, and
// for each entry that nothing would begin. It is for tests: it looks at every entry.
func (w *Window) Check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var problems []error
	want := func(what string, counted, is int64) {
		if counted != is {
			problems = append(problems, fmt.Errorf("%s: %d by the window's count, %d there are", what, counted, is))
		}
	}
	all, mark, leased := entriesOf(w)
	for id, it := range leased {
		if it.ID != id {
			problems = append(problems, fmt.Errorf("%s is held as %s", it.ID, id))
		}
	}
	queued := make(map[*Item]bool)
	for _, q := range []*queue{&w.order.redeliver, &w.order.unblocked, &w.order.fresh} {
		for _, it := range q.list[q.head:] {
			if queued[it] {
				problems = append(problems, fmt.Errorf("%s may be begun twice", it.ID))
			}
			queued[it] = true
		}
	}
	behind := make(map[*Item]bool)
	follow := func(it *Item) {
		for next := it.behind; next != nil && !behind[next]; next = next.behind {
			behind[next] = true
		}
	}
	for it := range queued {
		follow(it) // also a lost one
	}
	for _, it := range all {
		follow(it)
	}
	bytes, states, ended := int64(0), make(map[State]int64), 0
	for i, it := range all {
		bytes += it.bytes
		states[it.state]++
		if it.state == Done && (leased != nil || ended == i) {
			ended++
		}
		if it.Entry != nil && it.Entry.Fields.Len() == 0 && it.bytes != 0 {
			problems = append(problems, fmt.Errorf("%s has no fields, and counts %d bytes", it.ID, it.bytes))
		}
		if it.keyed && (it.state == Done || it.state == Parked) {
			problems = append(problems, fmt.Errorf("%s has ended, and keeps its key", it.ID))
		}
		if last := w.order.last[it.key]; it.keyed && it.behind == nil && last != it {
			problems = append(problems, fmt.Errorf("%s is in the line of its key, which does not end there", it.ID))
		}
		if it.state == Unread && it.owner != taken && !queued[it] && !behind[it] && !w.stopped {
			problems = append(problems, fmt.Errorf("%s is not begun, and will never be", it.ID))
		}
	}
	for key, last := range w.order.last {
		if !last.keyed || last.key != key || last.behind != nil {
			problems = append(problems, fmt.Errorf("the line of a key ends with %s, which is not in it", last.ID))
		}
	}
	want("bytes", w.budget.loaded, bytes)
	want("at work", int64(w.workers.working), states[Working])
	want("parked", int64(w.budget.parked), states[Parked])
	want("to be delivered again", int64(len(w.order.waiting)), states[Waiting])
	settleable := len(w.ledger.settleable())
	want("ended", int64(settleable), int64(ended))
	if mark != nil {
		want("in the line", int64(w.ledger.len()), int64(len(all)))
	}
	if w.checkpoint.inFlight > settleable {
		problems = append(problems, fmt.Errorf("%d are being settled, of %d", w.checkpoint.inFlight, settleable))
	}
	return errors.Join(problems...)
}

// entriesOf returns the entries of a window, and its ledger.
func entriesOf(w *Window) (all []*Item, mark *LowMark, leased map[string]*Item) {
	switch l := w.ledger.(type) {
	case *LowMark:
		return l.line, l, nil
	case *Leases:
		for _, it := range l.byID {
			all = append(all, it)
		}
		return all, nil, l.byID
	}
	return nil, nil, nil
}
