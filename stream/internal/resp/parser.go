package resp

import (
	"math"
	"sync"

	"millrace/codec"
)

// Parser reads the replies of XREAD and XREADGROUP from one connection, in a third of the
// CPU time that go-redis takes. Most entries are taken as one piece of the reply, which costs one
// allocation (whole). Of a larger one the small texts share a string, and names that were read
// before are made once.
type Parser struct {
	Reader
	// Budgets tells how much is kept of the entries that come; nil is everything.
	Budgets Budgets
	// known are names of fields of large entries that were read before. They are few: names can
	// be whatever a publisher likes.
	known map[string]string

	// Of the large entry that is being read: its names, its ID and values, the end of each value
	// in them, and the values that are not there.
	names []string
	text  []byte
	ends  []int
	apart []string
	// unusual is set if a name of it is not one to keep.
	unusual bool
	// size is that of its names and values so far. Once it is more than most, the
	// entry is dropped: nothing of it is kept but the ID.
	size, most int64
	dropped    bool
}

// isApart is in the place of the end of a value that is not in the text.
const isApart = -1

const (
	// maxShared is the size of the largest value that shares a string with the
	// entry's ID and other values. One that is kept keeps them all: no
	// more than maxText and a value.
	maxShared = 1 << 10
	maxText   = 4 << 10
	// ahead is for how many entries there is room before they arrive.
	ahead = 1 << 10

	maxNameSize   = 99 // of a name to keep
	maxKnownNames = 1 << 10
	maxNames      = 1 << 8 // whose room is kept
)

// entryPool has the memory of batches that were settled. They are large, and there
// are two thousand a second of them.
var entryPool sync.Pool

func takeEntries(room int) []Entry {
	if kept, _ := entryPool.Get().(*[]Entry); kept != nil && cap(*kept) >= room {
		return (*kept)[:0]
	}
	return make([]Entry, 0, room)
}

// GiveEntries has the memory used again: nothing may point to it.
func GiveEntries(entries []Entry) {
	if cap(entries) < ahead/8 || cap(entries) > ahead {
		return
	}
	clear(entries)
	entryPool.Put(&entries)
}

// Batches reads a reply that begins with the given type and number of streams: an
// array of pairs, or a map in RESP3.
func (r *Parser) Batches(kind byte, streams int) ([]Batch, error) {
	batches := make([]Batch, 0, min(streams, 16))
	for range streams {
		if kind == '*' {
			if kind, n, err := r.Head(); err != nil || kind != '*' || n != 2 {
				return nil, Or(err, "a stream is no pair")
			}
		}
		one, err := r.batch()
		if err != nil {
			return nil, err
		}
		batches = append(batches, one)
	}
	return batches, nil
}

func (r *Parser) batch() (Batch, error) {
	kind, n, err := r.Head()
	if err != nil || kind != '$' || n < 0 {
		return Batch{}, Or(err, "a stream has no name")
	}
	name, err := r.Reader.text(n)
	if err != nil {
		return Batch{}, err
	}
	kind, n, err = r.Head()
	if err != nil || kind != '*' || n < 0 {
		return Batch{}, Or(err, "a stream has no entries")
	}
	in := NoLimit(name)
	if r.Budgets != nil {
		in = r.Budgets(name)
	}
	all := Batch{Stream: name, Entries: takeEntries(min(n, ahead))}
	room := in.Room
	for range n {
		fits := room
		if len(all.Entries) < in.Least || in.Key != nil {
			fits = Unlimited
		}
		one, bytes, err := r.Entry(in.MaxEntry, fits)
		if err != nil {
			return Batch{}, err
		}
		room = all.add(one, bytes, &in, room)
	}
	return all, nil
}

// Entry reads an ID and its fields, and tells the memory that the fields take. They
// are dropped if they are larger than most, or than fits. What newer servers add
// (XREADGROUP CLAIM has the idle time and the deliveries behind the fields) is
// passed over.
func (r *Parser) Entry(most, fits int64) (one Entry, bytes int64, err error) {
	for {
		one, bytes, next := r.whole(most, fits)
		switch {
		case next == isTaken:
			return one, bytes, nil
		case next == isPart && r.end-r.At < maxWhole:
			if err := r.fill(); err != nil {
				return Entry{}, 0, err
			}
			continue
		}
		break
	}
	return r.large(most, fits)
}

// large is Entry for an entry that the buffer may not hold, and for one of an unusual form.
func (r *Parser) large(most, fits int64) (one Entry, bytes int64, err error) {
	kind, elements, err := r.Head()
	if err != nil || kind != '*' || elements < 2 {
		return Entry{}, 0, Or(err, "an entry is no pair")
	}
	id, size, err := r.brief(maxShared, "an entry has no ID")
	if err != nil || size > maxShared {
		return Entry{}, 0, Or(err, "an entry has no ID")
	}
	defer r.forget()
	r.text = append(r.text, id...)
	kind, n, err := r.Head()
	switch {
	case err != nil:
		return Entry{}, 0, err
	case n < 0: // the entry is deleted, and was pending: it has no fields at all
	case kind == '*' && n%2 == 0:
		n /= 2
	case kind == '%':
	default:
		return Entry{}, 0, Malformed("an entry has no fields")
	}
	bytes = fieldBytes * int64(max(n, 0))
	r.most = min(most, fits-bytes)
	if err := r.readPairs(n); err != nil {
		return Entry{}, 0, err
	}
	if err := r.Skip(int64(elements-2), nil); err != nil {
		return Entry{}, 0, err
	}
	if n < 0 || r.dropped {
		one.ID = string(r.text[:size])
	} else {
		one = r.made(size)
	}
	one.Size = uint32(min(r.size, math.MaxUint32))
	return one, bytes + r.size, nil
}

// made makes the entry of the fields that were read.
func (r *Parser) made(at int) Entry {
	text := string(r.text)
	id, apart := text[:at], r.apart
	pairs := make([]string, 0, 2*len(r.ends))
	for i, end := range r.ends {
		if end == isApart {
			pairs = append(pairs, r.names[i], apart[0])
			apart = apart[1:]
			continue
		}
		pairs = append(pairs, r.names[i], text[at:end])
		at = end
	}
	return Entry{ID: id, Fields: codec.FieldsOf(pairs...)}
}

func (r *Parser) readPairs(n int) error {
	for i := range n {
		if r.dropped {
			clear(r.apart)
			return r.passPairs(n - i)
		}
		name, err := r.readName()
		if err != nil {
			return err
		}
		end, err := r.readValue()
		if err != nil {
			return err
		}
		r.names, r.ends = append(r.names, name), append(r.ends, end)
	}
	return nil
}

// passPairs reads over n names and values, and counts their bytes.
func (r *Parser) passPairs(n int) error {
	for range n {
		for _, missing := range [...]string{noName, noValue} {
			kind, size, err := r.Head()
			if err != nil || kind != '$' || size < 0 {
				return Or(err, missing)
			}
			if err := r.pass(size); err != nil {
				return err
			}
		}
	}
	return nil
}

// pass reads over the text of n bytes that follows its head, and counts them.
func (r *Parser) pass(n int) error {
	r.size += int64(n)
	if err := r.skipBytes(n, nil); err != nil {
		return err
	}
	_, err := r.short(0)
	return err
}

const (
	noName  = "a field has no name"
	noValue = "a field has no value"
)

func (r *Parser) readName() (string, error) {
	name, size, err := r.brief(maxNameSize, noName)
	if err != nil {
		return "", err
	}
	if size > maxNameSize {
		if r.dropped = r.size+int64(size) > r.most; r.dropped {
			return "", r.pass(size)
		}
		r.size += int64(size)
		r.unusual = true
		return r.Reader.text(size)
	}
	r.size += int64(size)
	if kept, ok := r.known[string(name)]; ok {
		return kept, nil
	}
	kept := string(name)
	if r.known == nil {
		r.known = make(map[string]string)
	}
	if len(r.known) < maxKnownNames {
		r.known[kept] = kept
	}
	return kept, nil
}

// readValue returns where the value ends in the entry's text, or that it is apart.
func (r *Parser) readValue() (end int, err error) {
	value, size, err := r.brief(maxShared, noValue)
	if err != nil {
		return 0, err
	}
	if r.dropped = r.size+int64(size) > r.most; r.dropped && size > maxShared {
		return 0, r.pass(size)
	}
	r.size += int64(size)
	if r.dropped {
		return 0, nil
	}
	if size > maxShared {
		value, err := r.Reader.text(size)
		r.apart = append(r.apart, value)
		return isApart, err
	}
	if len(r.text) > maxText {
		r.apart = append(r.apart, string(value))
		return isApart, nil
	}
	r.text = append(r.text, value...)
	return len(r.text), nil
}

// forget drops the entry that was read. The room that it took is for the next,
// unless there was a lot of it.
func (r *Parser) forget() {
	clear(r.apart)
	if r.unusual || len(r.names) > maxNames {
		r.names, r.ends, r.apart, r.unusual = nil, nil, nil, false
	}
	r.names, r.text, r.ends, r.apart = r.names[:0], r.text[:0], r.ends[:0], r.apart[:0]
	r.size, r.dropped = 0, false
}
