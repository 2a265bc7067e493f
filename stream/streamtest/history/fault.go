package history

// Fault is a disturbance of a consumer or of Redis by a test, and the findings that the
// promises allow because of it. Every other finding of [Rules.Check] is a violation.
type Fault struct {
	// Name tells the fault from the others of a history, "kill 7" for example.
	Name string `json:"name"`
	// Repeats is how many entries may be handled once more because of the fault. For a kill of
	// a consumer these are the entries in its window, for a failover the acks that may not have
	// reached the replica. For a fault that loses neither, Repeats is 0.
	Repeats int `json:"repeats,omitempty"`
	// Loses says that Redis may lose acknowledged entries and offsets, as it does in a failover
	// or in a restart without data.
	Loses bool `json:"loses,omitempty"`
	// Alarms says that a loss may be reported because of the fault although no entry is lost.
	// For example, the consumers of a group that was destroyed cannot know whether entries are
	// lost.
	Alarms bool `json:"alarms,omitempty"`
}

// span is a fault, and the positions in the history at which it begins and is over.
type span struct {
	Fault
	begun, over int
	repeated    int // how many repeats the fault explains so far
}

// spans returns the faults of a history. A fault that is never over lasts to the end.
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

// between returns the first fault that was present at some time from one position to another,
// and for which ok returns true, or nil.
func between(all []*span, from, to int, ok func(*span) bool) *span {
	for _, s := range all {
		if s.begun <= to && s.over >= from && ok(s) {
			return s
		}
	}
	return nil
}
