package history

import "sort"

// delivery is one entry given to one consumer.
type delivery struct {
	entry *checked
	by    string
}

// deliveries are those of an entry or a key, with where in the history they are.
type deliveries struct {
	list []delivery
	at   []int
}

// overlaps looks for entries that were delivered to another one while they were handled,
// and with [ByKey] for entries of their key. A consumer that was killed never comes to
// the end of a handling, and is not at work on it any more.
func (c *check) overlaps() {
	begun := make(map[delivery]int) // the last delivery that has not come to its end
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
		if from, ok := begun[one]; ok { // else its delivery is missing
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

// overlap finds the first delivery from one position to another, while an entry was
// handled. There is one finding for each handling.
func (c *check) overlap(handled delivery, from, to int, all *deliveries) bool {
	for n := sort.SearchInts(all.at, from+1); n < len(all.at) && all.at[n] < to; n++ {
		other := all.list[n]
		if other == handled {
			continue // begun anew, see begun
		}
		by := between(c.faults, from, to, func(s *span) bool { return s.Repeats > 0 })
		c.find(AtOnce, other.entry, by, "delivered to %q while %q was handling %v", other.by, handled.by, handled.entry.id)
		return true
	}
	return false
}
