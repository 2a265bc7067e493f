package stream

// A claim drops the note of each pending entry that it names and that the stream no
// longer has, however short it has been idle: XCLAIM and XAUTOCLAIM look at the idle
// time only afterwards, on every server (Redis 7.0 to 8.0, Valkey 8.1 and 9.1). A live
// consumer still handles such an entry, from its memory. So the idle time is looked at
// first, and each script that claims returns the entries that are gone.

// noteGone takes note of entries that were pending, and that a claim has found gone from
// the stream. It tells of those that no consumer handles any more.
func (s *groupSource) noteGone(ids []string) {
	for _, id := range s.leases.PassGone(ids) {
		s.tellGone(id)
	}
}

func (s *groupSource) tellGone(id string) {
	s.log().Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", id)
	s.loseEntry(id)
}

// tellUnhandled tells, at a stop, of the entries that are held and not handled, and that
// a renewal has found gone from the stream: these cannot be handed back.
func (s *groupSource) tellUnhandled() {
	for _, id := range s.leases.UnhandledGone() {
		s.tellGone(id)
	}
}
