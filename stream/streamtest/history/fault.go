package history

// Fault is what a test does to a consumer or to Redis, and what the promises
// allow to be seen of it. Everything else that [Rules.Check] finds is a violation.
type Fault struct {
	// Name tells the fault from the others of a history, "kill 7" for example.
	Name string `json:"name"`
	// Repeats is how many entries may be handled once more because of it: for a
	// kill of a consumer what it had in flight, for a failover as many acks as
	// may not have reached the replica, for a fault that loses neither 0.
	Repeats int `json:"repeats,omitempty"`
	// Loses says that Redis may lose what it acknowledged, entries and offsets,
	// as it does in a failover or an empty restart.
	Loses bool `json:"loses,omitempty"`
	// Alarms says that a loss may be reported because of it although nothing is lost,
	// as of a group that was destroyed: its consumers cannot know.
	Alarms bool `json:"alarms,omitempty"`
}

// span is a fault and when it was, in positions of a history.
type span struct {
	Fault
	begun, over int
	repeated    int // how many repeats were put down to it
}

// spans finds the faults of a history. One that is never over lasts to the end.
func spans(h []Event) []*span {
	var all []*span
	for i, event := range h {
		switch event.Kind {
		case FaultBegun:
			s := &span{Fault: Fault{Name: event.Text}, begun: i, over: len(h)}
			if event.May != nil {
				s.Fault = *event.May
			}
			all = append(all, s)
		case FaultOver:
			for _, s := range all {
				if s.Name == event.Text && s.over == len(h) {
					s.over = i
					break
				}
			}
		}
	}
	return all
}

// between returns the first fault that was there at some time from one position
// to another, and for which ok holds, or nil.
func between(all []*span, from, to int, ok func(*span) bool) *span {
	for _, s := range all {
		if s.begun <= to && s.over >= from && ok(s) {
			return s
		}
	}
	return nil
}
