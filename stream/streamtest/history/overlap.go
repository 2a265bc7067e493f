package history

import "sort"

// delivery is one entry given to one consumer.
type delivery struct {
	entry *checked
	by    string
}

// deliveries are the deliveries of one entry or one key, with their positions in the history.
type deliveries struct {
	list []delivery
	at   []int
}

// overlaps finds entries that were delivered to another consumer while they were being handled.
// With [ByKey] it also finds entries that were delivered while another entry of their key was
// being handled. The handling by a consumer that was killed has no end, and does not count: the
// consumer is no longer at work.
func (c *check) overlaps() {
	begun := make(map[delivery]int) // the position at which a handling began
	ofEntry, ofKey := make(map[*checked]*deliveries), make(map[string]*deliveries)
	for i, event := range c.events {
		if event.Kind != Delivered && event.Kind != Handled {
			continue
		}
		entry, _ := c.entry(event.ID) // gather has seen it
		one := delivery{entry, event.By}
		if event.Kind == Delivered {
			begun[one] = i
			note(ofEntry, entry, one, i)
			if c.rules.Order == ByKey {
				note(ofKey, entry.key, one, i)
			}
			continue
		}
		if from, ok := begun[one]; ok { // else the history has no delivery
			delete(begun, one)
			if !c.overlap(one, from, i, ofEntry[entry]) && c.rules.Order == ByKey {
				c.overlap(one, from, i, ofKey[entry.key])
			}
		}
	}
}

func note[K comparable](lists map[K]*deliveries, key K, one delivery, at int) {
	if lists[key] == nil {
		lists[key] = &deliveries{}
	}
	lists[key].list, lists[key].at = append(lists[key].list, one), append(lists[key].at, at)
}

// overlap finds the first delivery from one position to another, while an entry was being
// handled, and reports whether there is one. There is one finding for each handling.
func (c *check) overlap(handled delivery, from, to int, all *deliveries) bool {
	for n := sort.SearchInts(all.at, from+1); n < len(all.at) && all.at[n] < to; n++ {
		other := all.list[n]
		if other == handled {
			continue // a new delivery of the same entry to the same consumer
		}
		by := between(c.faults, from, to, func(s *span) bool { return s.Repeats > 0 })
		c.find(AtOnce, other.entry, by, "delivered to %q while %q was handling %v", other.by, handled.by, handled.entry.id)
		return true
	}
	return false
}
