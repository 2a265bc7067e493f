package stream

import (
	"sync"

	"millrace/codec"
	"millrace/stream/internal/resp"
)

// WithOrderKey keeps the order of entries that have the same key while
// [WithConcurrency] handlers run at once: entries of one key are processed one at
// a time, in the order in which they were read, those of different keys in
// parallel. One that fails holds up its own key until it succeeds or is passed,
// and no other. Default: no order in group mode, and in log mode only with the one
// handler at a time that is its default; a nil key is refused.
//
// The key is usually a field's text, see [Field]. The function is called once for
// each entry that was read, before it is decoded; it must be quick, and must not
// change the entry. All entries for which it returns the same text are in order,
// the empty text included: an entry without a key is in order with the others that
// have none. One over the limit of [WithMaxEntryBytes] has no fields to find a key in.
//
// In group mode the order is that of one consumer. Entries of one key that
// different consumers of the group read, or that are claimed from a dead one, are
// not in order with each other.
//
// When the window ([WithWindow]) is full of entries that wait for a key whose
// first one is stuck, nothing more is read, and the log says so.
func WithOrderKey(key func(*Entry) string) Option {
	return option{"WithOrderKey", anyConsumer, func(c *config) {
		c.orderKey = key
		c.ordered = true
	}}
}

// Field returns the function that returns the text of the field with the given
// name, for [WithOrderKey]: stream.WithOrderKey(stream.Field("account")). It finds a
// field of [codec.Packed] too. For an entry that lacks the field it returns "".
func Field(name string) func(*Entry) string {
	return func(entry *Entry) string {
		text, _ := codec.Lookup(entry.Fields, name)
		return text
	}
}

// orderKeys tells the order keys of entries, with the user's function. A function that
// does not return counts as one that returns "": in order with others of its kind such an
// entry is safe, and an error of its handler says more than the loss of the reader would.
type orderKeys struct {
	stream string
	key    func(*Entry) string
	// shown has entries for the function, each for one call.
	shown sync.Pool
}

func (o *orderKeys) Of(entry *resp.Entry) (key string) {
	_ = isolated(func() error {
		key = o.ask(entry)
		return nil
	})
	return key
}

func (o *orderKeys) OfAll(entries []resp.Entry, set func(i int, key string)) {
	for next := 0; next < len(entries); {
		_ = isolated(func() error { // once, but for entries with which it does not return
			for next < len(entries) {
				i := next
				next++
				set(i, o.ask(&entries[i]))
			}
			return nil
		})
	}
}

func (o *orderKeys) ask(entry *resp.Entry) string {
	shown, _ := o.shown.Get().(*Entry)
	if shown == nil {
		shown = new(Entry)
	}
	*shown = Entry{Stream: o.stream, ID: entry.ID, Fields: entry.Fields, size: entry.Size}
	key := o.key(shown)
	*shown = Entry{}
	o.shown.Put(shown)
	return key
}
