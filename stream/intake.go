package stream

import (
	"math"
	"millrace/codec"
	"strings"
	"time"
)

// intake is how much of one stream a read may bring into memory. Of what is beyond
// that the bytes are read over, and the ID and the size are kept.
type intake struct {
	// entry is how large an entry may be, of names and values together.
	entry int64
	// room is what all entries may take in memory. The first one that does not fit
	// is left, with all that follow; but for the first few, which are kept whatever
	// their size, or nothing would ever move.
	room  int64
	least int
	// key tells the order key of entries that are left, while the fields are there; nil is
	// none. It does not panic.
	key func(*wireEntry) string
	// steady says that the next read asks for as many entries as this one, if they fit.
	steady bool
}

// maxEntry is the same limit as an option has it, nil for none.
func (in intake) maxEntry() *int {
	if in.entry == unlimited {
		return nil
	}
	most := int(in.entry)
	return &most
}

// intakes tells the intake of each stream of a read.
type intakes func(stream string) intake

// wanted is the intakes of a read of one stream.
func (in intake) wanted(string) intake { return in }

const unlimited = math.MaxInt64

// everything has no limit.
func everything(string) intake { return intake{entry: unlimited, room: unlimited, least: 1} }

// wireEntry is an entry as a read has brought it.
type wireEntry struct {
	ID string
	// Fields are nil where the entry is too large, or was deleted. Of a name that is
	// repeated the last value is kept.
	Fields codec.Fields
	// size is that of the names and values together, repeated ones included, also if the
	// fields are not here. Redis takes no entry of a gigabyte or more.
	size uint32
}

// fieldBytes is what a field takes in memory besides its name and value, about.
const fieldBytes = 64

// bytes is what the fields of the entry take in memory, about.
func (e *wireEntry) bytes() int64 {
	if e.Fields == nil {
		return 0
	}
	return int64(e.size) + fieldBytes*int64(len(e.Fields))
}

// take gives the entry its fields, which go-redis has read, unless they are larger
// than most. Of a name that is repeated go-redis has lost all values but one, which
// cannot be counted.
func (e *wireEntry) take(fields codec.Fields, most int64) {
	size := 0
	for name, value := range fields {
		text, _ := value.(string)
		size += len(name) + len(text)
	}
	e.size = uint32(min(int64(size), math.MaxUint32))
	if int64(size) <= most {
		e.Fields = fields
	}
}

// batch is what a read has brought of one stream.
type batch struct {
	stream  string
	entries []wireEntry
	// left are the entries behind those for which there was no room.
	left []leftover
	// bytes is what all of them would take in memory, those that are left included.
	bytes int64
	// more says that the stream may have more to be read at once.
	more bool
}

// leftover is an entry that was read without its fields.
type leftover struct{ id, key string }

func (b *batch) len() int { return len(b.entries) + len(b.left) }

// firstID returns the ID of the first entry, of which there is one.
func (b *batch) firstID() string {
	if len(b.entries) > 0 {
		return b.entries[0].ID
	}
	return b.left[0].id
}

// lastID returns the ID of the last entry, of which there is one.
func (b *batch) lastID() string {
	if n := len(b.left); n > 0 {
		return b.left[n-1].id
	}
	return b.entries[len(b.entries)-1].ID
}

// add takes in the next entry, of the given size in memory, and returns what room
// there is for others.
func (b *batch) add(one wireEntry, bytes int64, in *intake, room int64) int64 {
	b.bytes += bytes
	if int64(one.size) > in.entry {
		bytes = 0
	}
	if len(b.entries) < in.least || bytes <= room {
		b.entries = append(b.entries, one)
		return room - bytes
	}
	left := leftover{id: strings.Clone(one.ID)}
	if in.key != nil {
		shown := one // or each entry would be allocated, for the few that come here
		left.key = strings.Clone(in.key(&shown))
	}
	b.left = append(b.left, left)
	return -1 // nor for any other
}

// pace is how many entries a feed asks for at a time: no more than are expected to
// fit, as far as the last ones tell. It is only a guess, which saves reading over
// what is not kept; that memory is bounded is the intake's doing.
type pace struct {
	intake
	count, most int
	limit       replyLimit
	// alone is set when even a read of one entry, with the one at the place, broke off,
	// until the limit grows.
	alone bool
}

func newPace(in intake, most int) pace {
	in.steady = true
	return pace{intake: in, count: most, most: most}
}

// learn looks at what a read has brought. It goes down at once, and up slowly:
// where large entries come between small ones it would go up and down otherwise,
// and each time read half of them for nothing.
func (p *pace) learn(b batch) {
	p.limit.worked()
	fit := int64(p.limit.of(p.most, time.Now()))
	if n := int64(b.len()); n > 0 && b.bytes > 0 {
		fit = min(fit, p.room/max(1, b.bytes/n))
	}
	p.count = max(1, min(int(fit), 2*p.count))
	p.steady, p.alone = p.count == p.most, p.alone && p.limit.entries == 1
}

// failed looks at the failure of a read, and returns the error to report.
func (p *pace) failed(err error) error {
	if cut, is := as[*cutError](err); is {
		if !p.limit.cut(p.count, cut.begun, time.Now()) {
			return cut.err
		}
		cut.asked, cut.least = p.count, p.alone
		p.count, p.steady, p.alone = p.limit.entries, false, p.count == 1
	}
	return err
}
