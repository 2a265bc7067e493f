package history

// replays finds entries that a consumer handled to their end after later entries since it found
// its place: by loading or resetting its offset, or after a loss. Entries that come again have
// to come in order, too.
func (c *check) replays() {
	if c.rules.Order == NoOrder {
		return
	}
	type line struct{ by, key string }
	last := make(map[string]map[line]*checked) // by consumer
	seen := make(map[string]map[*checked]bool) // since the place was found
	for i, event := range c.events {
		switch event.Kind {
		case Loaded, Reset, Reported:
			delete(last, event.By)
			delete(seen, event.By)
			continue
		case Handled:
		default:
			continue
		}
		entry, _ := c.entry(event.ID)
		if !event.Passed || !entry.stayed || seen[event.By][entry] {
			continue
		}
		if last[event.By] == nil {
			last[event.By], seen[event.By] = make(map[line]*checked), make(map[*checked]bool)
		}
		seen[event.By][entry] = true
		at := line{event.By, c.line(entry)}
		before := last[event.By][at]
		if before == nil || entry.id.Compare(before.id) >= 0 {
			last[event.By][at] = entry
		} else if entry.passed != i { // the first handling is judged by order
			c.find(OutOfOrder, entry, nil, "handled again after %v", before.id)
		}
	}
}
