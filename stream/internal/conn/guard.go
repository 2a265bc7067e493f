package conn

// guard is a look at the group that is sent in front of a read, in one write: the
// server runs the two one after the other. Where unread entries were trimmed, newer
// servers correct their counters when the group reads on, so that a look
// between two reads comes too late if there is but one moment between the trim and the
// read, whichever consumer's it is. Every consumer guards its reads, so that each gap
// is seen by the one whose read comes next.
//
// A read that follows at once on one that has brought everything needs no guard: there is
// nothing to lose when it is sent. The account of package loss covers the time in which it waits;
// all reads are guarded until the count of the account has begun.
type guard struct {
	Command []byte
	// Answer takes in the reply to the command, nil for null.
	Answer func(reply []any, err error)
	// End comes after everything else, also if the read failed.
	End func()
}

// Guards are sent in front of one read.
type Guards []*guard

// With has the guards sent with the next read of a reader. The caller calls over when that
// read has ended.
func (g Guards) With(r *Reader) (over func()) {
	if len(g) == 0 {
		return func() {}
	}
	r.Sockets.guards.Store(&g)
	return func() { r.Sockets.guards.Store(nil) }
}

// Over ends the guards, whether they were sent or not.
func (g Guards) Over() {
	for _, one := range g {
		one.End()
	}
}
