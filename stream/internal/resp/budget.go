package resp

import (
	"math"
)

// Budget is how much of one stream a read may bring into memory. Of what is beyond
// that the bytes are read over, and the ID and the size are kept.
type Budget struct {
	// MaxEntry is how large an entry may be, of names and values together.
	MaxEntry int64
	// Room is the memory that all entries may take. The first one that does not fit
	// is left, with all that follow; but for the first few, which are kept whichever
	// their size, or nothing would ever move.
	Room int64
	// Least is how many entries are kept, large or not.
	Least int
	// Key tells the order key of entries that are left, while the fields are there; nil is
	// none. It does not panic.
	Key func(*Entry) string
	// Steady says that the next read asks for as many entries as this one, if they fit.
	Steady bool
}

// EntryLimit is the same limit as an option has it, nil for none.
func (in Budget) EntryLimit() *int {
	if in.MaxEntry == Unlimited {
		return nil
	}
	most := int(in.MaxEntry)
	return &most
}

// Budgets tells the budget of each stream of a read.
type Budgets func(stream string) Budget

// For is the Budgets of a read of one stream.
func (in Budget) For(string) Budget { return in }

// Unlimited is a limit that nothing reaches.
const Unlimited = math.MaxInt64

// NoLimit is the budget, of any stream, that keeps everything.
func NoLimit(string) Budget { return Budget{MaxEntry: Unlimited, Room: Unlimited, Least: 1} }

// SizeLimit returns how large an entry may be, for a limit as an option has it; nil is none.
func SizeLimit(maxEntry *int) int64 {
	if maxEntry == nil {
		return Unlimited
	}
	return int64(*maxEntry)
}
