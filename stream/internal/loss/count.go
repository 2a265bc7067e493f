package loss

import "millrace/stream/internal/resp"

// count is how many entries a consumer in log mode has read, next to how many the
// stream says were ever added. Entries that are trimmed away between two reads, or
// deleted by their IDs, leave no other trace: XREAD goes on with the entries there are.
type count struct {
	// ordinal is the number of the entry that was read last, among all that were ever
	// added; -1 is not known.
	ordinal int64
	// sound is the place up to which the count was found right.
	sound string
	// mark is where the count is compared next.
	mark mark
	// deleted is the highest ID of those that were deleted by ID, as it was known last.
	deleted string
}

// mark is the end of the stream as it once was.
type mark struct {
	id, first string
	added     int64
}

// uncounted is the count at a place whose number is not known.
func uncounted(at string) count { return count{ordinal: -1, sound: at} }

// read counts entries, the next that were read.
func (c *count) read(entries []resp.Entry) (found Finding) {
	n := len(entries)
	if c.mark.id != "" && resp.CompareIDs(entries[n-1].ID, c.mark.id) >= 0 {
		for n > 0 && resp.CompareIDs(entries[n-1].ID, c.mark.id) > 0 {
			n--
		}
		c.add(n)
		found = c.reconcile(c.mark)
		n = len(entries) - n
	}
	c.add(n)
	return found
}

func (c *count) add(n int) {
	if c.ordinal >= 0 {
		c.ordinal += int64(n)
	}
}

// reconcile takes the number of the mark for the entries that were read up to it, and returns
// a loss if they were fewer.
func (c *count) reconcile(at mark) (found Finding) {
	switch {
	case c.ordinal < 0:
	case at.added > c.ordinal:
		found = Finding{Cause: Trimmed, From: c.sound, To: at.id, Count: at.added - c.ordinal, Exact: true}
	case at.added < c.ordinal: // more than it ever had
		found = Finding{Cause: Recreated, From: c.sound, To: at.first, Count: -1}
	}
	c.ordinal, c.sound, c.mark = at.added, at.id, mark{}
	return found
}

// compare holds the entries that were read, up to a place, against a survey of the stream.
func (c *count) compare(from resp.Place, seen survey, resumed bool) (found Finding) {
	gone := seen.gone()
	switch {
	case from.ID == resp.Beginning: // so nothing of it was read
		if c.ordinal >= 0 && gone > c.ordinal {
			found = Finding{Cause: Trimmed, From: resp.Beginning, To: seen.first, Count: gone - c.ordinal, Exact: true}
		}
		c.ordinal = gone
	case seen.last == from.ID, seen.witness && seen.end == from.ID:
		found = c.reconcile(mark{id: seen.last, first: seen.first, added: seen.added})
	case c.ordinal < 0 && seen.witness && resp.CompareIDs(seen.deleted, from.ID) > 0 &&
		(resumed || c.deleted != "" && c.deleted != seen.deleted):
		found = Finding{Cause: Trimmed, From: from.ID, To: seen.deleted, Count: gone}
	}
	c.deleted = seen.deleted
	c.expect(from, seen)
	return found
}

// expect has the count compared again when the reader comes to the present end of
// the stream.
func (c *count) expect(from resp.Place, seen survey) {
	if c.mark.id == "" && resp.CompareIDs(seen.last, from.ID) > 0 {
		c.mark = mark{id: seen.last, first: seen.first, added: seen.added}
	}
}
