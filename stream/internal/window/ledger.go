package window

// ledger is how the window keeps its entries, which depends on the mode: a [LowMark] or
// [leases]. The window's lock is held during each call.
type ledger interface {
	// add takes an entry in. It reports false if one with its ID is here.
	add(it *Item) bool
	// len returns how many entries are here.
	len() int
	// end notes that the processing of an entry has ended.
	end(it *Item)
	// settleable returns the entries that may be settled.
	settleable() []*Item
	// settled takes out the first n of them, and has drop called for each.
	settled(n int, drop func(*Item))
	// remove takes an entry out that is settled in another way, or is another consumer's.
	remove(it *Item)
	// blocking returns the entry that has to end, or with fields to let its fields go,
	// before there is room; nil if there is none.
	blocking(fields bool) *Item
	// oldest returns the ID of the first entry, in the order of the stream, whose processing
	// has not ended, "" if there is none.
	oldest() string
}

// dropFirst keeps nothing alive of the first n that it drops, and their place for others.
func dropFirst(list []*Item, n int, drop func(*Item)) []*Item {
	for _, it := range list[:n] {
		drop(it)
	}
	left := copy(list, list[n:])
	clear(list[left:])
	return list[:left]
}
