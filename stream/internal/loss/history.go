package loss

import (
	"math/bits"
	"slices"

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
