package resp

import (
	"slices"

	"millrace/offset"
)

// CompareIDs compares IDs as the server gives them; one that is none counts as 0-0.
func CompareIDs(a, b string) int {
	x, _ := offset.Parse(a)
	y, _ := offset.Parse(b)
	return x.Compare(y)
}

// SortByID sorts a list by the IDs of its elements, and returns it.
func SortByID[E any](list []E, idOf func(E) string) []E {
	type parsed struct {
		id offset.ID
		of E
	}
	all := make([]parsed, len(list))
	for i, one := range list {
		id, _ := offset.Parse(idOf(one))
		all[i] = parsed{id, one}
	}
	slices.SortFunc(all, func(a, b parsed) int { return a.id.Compare(b.id) })
	for i, one := range all {
		list[i] = one.of
	}
	return list
}

// Before returns the ID directly before one that is not 0-0.
func Before(id string) string {
	parsed, err := offset.Parse(id)
	if err != nil {
		return id
	}
	if parsed.Seq--; parsed.Seq == ^uint64(0) {
		parsed.Ms--
	}
	return parsed.String()
}

// After returns the ID that follows directly, and for the last one of all that
// itself: what goes through a list from after to after must not begin again.
func After(id string) string {
	parsed, err := offset.Parse(id)
	if err != nil {
		return id
	}
	if parsed.Seq++; parsed.Seq == 0 { // it was the last of its millisecond
		if parsed.Ms++; parsed.Ms == 0 {
			return id
		}
	}
	return parsed.String()
}

// Beginning is the offset before every entry.
const Beginning = "0-0"
