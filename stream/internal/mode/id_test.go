package mode_test

import (
	"math"
	"math/big"
	"testing"
	"time"

	"millrace/offset"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/resp"
)

// number is an ID as the one number that its two parts are together.
func number(id offset.ID) *big.Int {
	n := new(big.Int).SetUint64(id.Ms)
	return n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(id.Seq))
}

func numberOf(t *testing.T, text string) *big.Int {
	t.Helper()
	id, err := offset.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return number(id)
}

var (
	oneNumber  = big.NewInt(1)
	lastNumber = new(big.Int).Sub(new(big.Int).Lsh(oneNumber, 128), oneNumber)
)

// FuzzIDs holds all that is done with two IDs to what follows from their numbers.
func FuzzIDs(f *testing.F) {
	f.Add(uint64(0), uint64(1), uint64(0), uint64(0))
	f.Add(uint64(5), uint64(0), uint64(4), uint64(1<<64-1))
	f.Add(uint64(1<<64-1), uint64(1<<64-1), uint64(1<<64-1), uint64(1<<64-2))
	f.Fuzz(func(t *testing.T, aMs, aSeq, bMs, bSeq uint64) {
		x, y := offset.ID{Ms: aMs, Seq: aSeq}, offset.ID{Ms: bMs, Seq: bSeq}
		a, b, order := x.String(), y.String(), number(x).Cmp(number(y))
		if got := resp.CompareIDs(a, b); got != order {
			t.Errorf("%s and %s are compared as %d", a, b, got)
		}
		if got, want := numberOf(t, resp.After(a)), new(big.Int).Add(number(x), oneNumber); got.Cmp(want) != 0 && (number(x).Cmp(lastNumber) != 0 || resp.After(a) != a) {
			t.Errorf("after %s comes %s", a, resp.After(a))
		}
		if got, want := numberOf(t, resp.Before(a)), new(big.Int).Sub(number(x), oneNumber); got.Cmp(want) != 0 && a != resp.Beginning {
			t.Errorf("before %s comes %s", a, resp.Before(a))
		}
		sameStart(t, int64(min(aMs, math.MaxInt64)), y) //nolint:gosec // it fits
	})
}

// sameStart checks that StartAt starts with exactly the entries from a millisecond
// on.
func sameStart(t *testing.T, ms int64, entry offset.ID) {
	t.Helper()
	start := mode.StartAt(time.UnixMilli(ms))
	reads := start.After == nil || number(entry).Cmp(numberOf(t, *start.After)) > 0
	if want := entry.Ms >= uint64(ms); reads != want { //nolint:gosec // ms is not negative
		t.Errorf("from %d on, %v is read: %t", ms, entry, reads)
	}
}
