package stream

import "millrace/stream/internal/resp"

// count is how many entries a consumer in log mode has read, next to how many the
// stream says were ever added. Entries that are trimmed away between two reads, or
// deleted by their IDs, leave no other trace: XREAD goes on with what there is.
type count struct {
	// ordinal is which entry of all that were ever added the last one is that was
	// read, -1 if that is not known.
	ordinal int64
	// sound is the place up to which it was found right.
	sound string
	// mark is where it is compared next.
	mark mark
	// deleted is the highest ID of those that were deleted by ID, as it was known last.
	deleted string
}

// mark is the end of the stream as it once was.
type mark struct {
	id, first string
	added     int64
}

// read counts entries, the next that were read.
func (c *count) read(entries []resp.Entry) (loss *LossError) {
	n := len(entries)
	if c.mark.id != "" && resp.CompareIDs(entries[n-1].ID, c.mark.id) >= 0 {
		for n > 0 && resp.CompareIDs(entries[n-1].ID, c.mark.id) > 0 {
			n--
		}
		c.add(n)
		loss = c.settle(c.mark)
		n = len(entries) - n
	}
	c.add(n)
	return loss
}

func (c *count) add(n int) {
	if c.ordinal >= 0 {
		c.ordinal += int64(n)
	}
}

// settle takes the number of the mark for what was read up to it, and returns what
// is lost if less was.
func (c *count) settle(at mark) (loss *LossError) {
	switch {
	case c.ordinal < 0:
	case at.added > c.ordinal:
		loss = &LossError{Cause: LossTrimmed, From: c.sound, To: at.id, Count: at.added - c.ordinal, Exact: true}
	case at.added < c.ordinal: // more than it ever had
		loss = &LossError{Cause: LossRecreated, From: c.sound, To: at.first, Count: -1}
	}
	c.ordinal, c.sound, c.mark = at.added, at.id, mark{}
	return loss
}

// compare compares what was read, up to a place, with what the stream says.
func (c *count) compare(from resp.Place, seen survey, resumed bool) (loss *LossError) {
	gone := seen.added - seen.length
	switch {
	case from.ID == resp.Beginning: // so nothing of it was read
		if c.ordinal >= 0 && gone > c.ordinal {
			loss = &LossError{Cause: LossTrimmed, From: resp.Beginning, To: seen.first, Count: gone - c.ordinal, Exact: true}
		}
		c.ordinal = gone
	case seen.last == from.ID, seen.witness && seen.end == from.ID:
		loss = c.settle(mark{id: seen.last, first: seen.first, added: seen.added})
	case c.ordinal < 0 && seen.witness && resp.CompareIDs(seen.deleted, from.ID) > 0 &&
		(resumed || c.deleted != "" && c.deleted != seen.deleted):
		loss = &LossError{Cause: LossTrimmed, From: from.ID, To: seen.deleted, Count: gone}
	}
	c.deleted = seen.deleted
	c.expect(from, seen)
	return loss
}

// expect has the count compared again when the reader comes to the present end of
// the stream.
func (c *count) expect(from resp.Place, seen survey) {
	if c.mark.id == "" && resp.CompareIDs(seen.last, from.ID) > 0 {
		c.mark = mark{id: seen.last, first: seen.first, added: seen.added}
	}
}
