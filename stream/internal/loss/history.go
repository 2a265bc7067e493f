package loss

import (
	"math/bits"
	"slices"

	"millrace/offset"
	"millrace/stream/internal/resp"
)

// history is some of the places that were read up to, the newest last: to find, after a
// failover, the last that the stream still has. The further back, the fewer are kept: as many
// entries are handled again as have vanished, in the order of magnitude.
type history struct {
	places []ordinal
	added  int
}

// ordinal is a place and its number, counted from the first place that was read up to.
type ordinal struct {
	resp.Place
	nth int
}

// denseFor is how many of the last places are all kept; of those up to twice as far back
// every second one is kept, and so on.
const denseFor = 16

func (h *history) add(p resp.Place) {
	h.added++
	h.places = append(h.places, ordinal{p, h.added})
	if h.added%denseFor == 0 {
		h.places = slices.DeleteFunc(h.places, func(o ordinal) bool {
			step := 1 << bits.Len(uint((h.added-o.nth)/denseFor))
			return o.nth%step != 0
		})
	}
}

// cut forgets the places behind an ID.
func (h *history) cut(id string) {
	h.places = slices.DeleteFunc(h.places, func(o ordinal) bool { return resp.CompareIDs(o.ID, id) > 0 })
}

// recent is the IDs of the last entries that were read, the newest last. History knows the ends of
// batches, which is not enough where an entry must not be handled again if that can be helped.
type recent []offset.ID

// recentFor is how many IDs there are at least, 16 bytes each, once as many were read.
const recentFor = 1 << 14

func (r *recent) add(entries []resp.Entry) {
	if len(*r) >= 2*recentFor {
		*r = append((*r)[:0], (*r)[len(*r)-recentFor:]...)
	}
	for _, entry := range entries {
		if id, err := offset.Parse(entry.ID); err == nil {
			*r = append(*r, id)
		}
	}
}

// behind returns the IDs that come after another one.
func (r recent) behind(id string) recent {
	from, err := offset.Parse(id)
	if err != nil {
		return nil
	}
	at := len(r)
	for at > 0 && from.Compare(r[at-1]) < 0 {
		at--
	}
	return r[at:]
}
