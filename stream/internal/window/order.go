package window

import (
	"time"

	"millrace/stream/internal/resp"
)

// order is which entries may be begun next. The window's lock guards it.
type order struct {
	redeliver queue // to be delivered again and due, or claimed
	unblocked queue // the entry before it with the same key has ended
	fresh     queue // read, in the order of the stream
	waiting   dueHeap
	dueTimer  *time.Timer      // goes off when the first of waiting is due
	key       Keys             // nil is no order
	last      map[string]*Item // by order key, the last entry that is in line
	// redelivering is set while there may be something in redeliver.
	redelivering bool
}

// Keys tells order keys, each entry's or those of many entries. It does not panic.
type Keys interface {
	Of(entry *resp.Entry) string
	OfAll(entries []resp.Entry, set func(i int, key string))
}

// ready returns how many entries may be begun, at the most.
func (o *order) ready() int { return o.redeliver.len() + o.unblocked.len() + o.fresh.len() }

func (o *order) redeliverAgain(it *Item) {
	o.redeliver.push(it)
	o.redelivering = true
}

// enqueue puts an entry in the line of its key, and reports whether it is the first there,
// so that it may be begun.
func (o *order) enqueue(it *Item) bool {
	if o.key == nil || it.keyed {
		return true
	}
	it.keyed = true
	before := o.last[it.key]
	o.last[it.key] = it
	if before == nil {
		return true
	}
	before.behind = it
	return false
}

// release takes an entry out of the line of its key, where it is the first. It reports
// whether that lets another one begin.
func (o *order) release(it *Item) bool {
	if !it.keyed {
		return false
	}
	it.keyed = false
	if next := it.behind; next != nil {
		it.behind = nil
		o.unblocked.push(next)
		return true
	}
	delete(o.last, it.key)
	return false
}
