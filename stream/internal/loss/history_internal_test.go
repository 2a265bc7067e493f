package loss

import (
	"strconv"
	"testing"

	"millrace/stream/internal/resp"
)

// However many places there were, few are kept, all of the last and, the further back,
// the fewer: between two of them there are no more than a quarter of those that have followed.
func TestHistoryIsSparse(t *testing.T) {
	t.Parallel()
	var h history
	for n := 1; n <= 100_000; n++ {
		h.add(resp.Place{ID: strconv.Itoa(n) + "-0"})
		if len(h.places) > 200 {
			t.Fatalf("of %d places %d are kept", n, len(h.places))
		}
		if n%997 != 0 {
			continue
		}
		before := 0
		for _, one := range h.places {
			if gap := one.nth - before; gap > 1 && gap > (n-before)/4 {
				t.Fatalf("of %d places none is kept between %d and %d", n, before, one.nth)
			}
			before = one.nth
		}
		if before != n {
			t.Fatalf("of %d places the last that is kept is %d", n, before)
		}
	}
	h.cut("99990-0")
	if last := h.places[len(h.places)-1]; last.ID != "99990-0" {
		t.Errorf("after a cut the last place is %s", last.ID)
	}
}
