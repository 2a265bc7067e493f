package stream

import (
	"context"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/resp"
)

// guard is a look at the group that is sent in front of a read, in one write: the
// server runs the two one after the other. Where unread entries were trimmed, newer
// servers correct their counters when the group reads on, so that a look
// between two reads comes too late if there is but one moment between the trim and the
// read, whichever consumer's it is. Every consumer guards its reads, so that each gap
// is seen by the one whose read comes next.
//
// A read that waits for entries is not guarded: there was nothing to lose when it was
// sent. account finds losses meanwhile.
type guard struct {
	command []byte
	// answer takes in the reply to the command, nil for null.
	answer func(reply []any, err error)
	// end comes after everything else, also if the read failed.
	end func()
}

// guards are sent in front of one read.
type guards []*guard

// with has the guards sent with the next read of a reader. The caller calls over when that
// read has ended.
func (g guards) with(r *reader) (over func()) {
	if len(g) == 0 {
		return func() {}
	}
	r.sockets.guards.Store(&g)
	return func() { r.sockets.guards.Store(nil) }
}

// over ends the guards, whether they were sent or not.
func (g guards) over() {
	for _, one := range g {
		one.end()
	}
}

// guarding makes the guards of a read. One that is patient waits for another look that is
// on its way, and has the server learn the script.
type guarding func(ctx context.Context, patient bool) (guards, error)

// guardRead is the source's guarding.
func (s *groupSource) guardRead(ctx context.Context, patient bool) (guards, error) {
	if s.unguarded.Load() || !patient && s.unloaded.Load() {
		return nil, nil
	}
	if patient {
		locking, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		if err := s.checking.Lock(locking); err != nil {
			return nil, ctx.Err() // if the server does not answer the other look, reading finds out
		}
	} else if !s.checking.TryLock() {
		return nil, nil
	}
	if s.unloaded.Swap(false) { // the server is another one, or was restarted
		before, place := s.recall()
		if at, err := s.queryGroup(ctx, place); err == nil && at != nil {
			s.tellUnread(before, place, at)
		}
	}
	before, place := s.recall()
	words := append([]any{"evalsha", unreadScript.Hash(), 1, s.stream}, s.lookArgs(place, "")...)
	var at *groupState
	held := true
	unlock := func() {
		if held {
			held = false
			s.checking.Unlock()
		}
	}
	return guards{{
		command: resp.CommandOf(words),
		answer: func(reply []any, err error) {
			if reply == nil && err == nil {
				err = redis.Nil
			}
			v := classify(err)
			switch {
			case v.code == "NOSCRIPT":
				s.unloaded.Store(true)
			case v.withheld, v.code == "ERR" && v.class == transient:
				s.unguarded.Store(true)
			default:
				at, _ = s.see(reply, err) // of other trouble the read tells
			}
			unlock()
		},
		end: func() {
			unlock()
			if at != nil {
				s.tellUnread(before, place, at)
			}
		},
	}}, nil
}

var _ redis.Error = resp.AnswerError("")
