package stream

import (
	"errors"
	"fmt"
)

// check counts anew, and returns an error for each counter of the window that is wrong, and
// for each entry that nothing would begin. It is for tests: it looks at every entry.
func (w *window) check() error {
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
		if it.id != id {
			problems = append(problems, fmt.Errorf("%s is held as %s", it.id, id))
		}
	}
	queued := make(map[*item]bool)
	for _, q := range []*queue{&w.order.redeliver, &w.order.unblocked, &w.order.fresh} {
		for _, it := range q.list[q.head:] {
			if queued[it] {
				problems = append(problems, fmt.Errorf("%s may be begun twice", it.id))
			}
			queued[it] = true
		}
	}
	behind := make(map[*item]bool)
	follow := func(it *item) {
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
	bytes, states, ended := int64(0), make(map[state]int64), 0
	for i, it := range all {
		bytes += it.bytes
		states[it.state]++
		if it.state == done && (leased != nil || ended == i) {
			ended++
		}
		if it.entry != nil && it.entry.Fields == nil && it.bytes != 0 {
			problems = append(problems, fmt.Errorf("%s has no fields, and counts %d bytes", it.id, it.bytes))
		}
		if it.keyed && (it.state == done || it.state == parked) {
			problems = append(problems, fmt.Errorf("%s has ended, and keeps its key", it.id))
		}
		if last := w.order.last[it.key]; it.keyed && it.behind == nil && last != it {
			problems = append(problems, fmt.Errorf("%s is in the line of its key, which does not end there", it.id))
		}
		if it.state == unread && it.owner != taken && !queued[it] && !behind[it] && !w.stopped {
			problems = append(problems, fmt.Errorf("%s is not begun, and will never be", it.id))
		}
	}
	for key, last := range w.order.last {
		if !last.keyed || last.key != key || last.behind != nil {
			problems = append(problems, fmt.Errorf("the line of a key ends with %s, which is not in it", last.id))
		}
	}
	want("bytes", w.budget.loaded, bytes)
	want("at work", int64(w.workers.working), states[working])
	want("parked", int64(w.budget.parked), states[parked])
	want("to be delivered again", int64(len(w.order.waiting)), states[waiting])
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
func entriesOf(w *window) (all []*item, mark *lowMark, leased map[string]*item) {
	switch l := w.ledger.(type) {
	case *lowMark:
		return l.line, l, nil
	case *leases:
		for _, it := range l.byID {
			all = append(all, it)
		}
		return all, nil, l.byID
	}
	return nil, nil, nil
}
