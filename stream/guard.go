package stream

import (
	"context"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// guardRead is the source's guarding.
func (s *groupSource) guardRead(ctx context.Context, patient bool) (conn.Guards, error) {
	if s.unguarded.Load() || !patient && s.unloaded.Load() {
		return nil, nil
	}
	if patient {
		locking, cancel := context.WithTimeout(ctx, conn.AnswerTimeout)
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
	words := append([]any{"evalsha", script.Unread.Hash(), 1, s.stream}, s.lookArgs(place, "")...)
	var at *groupState
	held := true
	unlock := func() {
		if held {
			held = false
			s.checking.Unlock()
		}
	}
	return conn.Guards{{
		Command: resp.CommandOf(words),
		Answer: func(reply []any, err error) {
			if reply == nil && err == nil {
				err = redis.Nil
			}
			v := classify(err)
			switch {
			case v.Code == "NOSCRIPT":
				s.unloaded.Store(true)
			case v.Withheld, v.Code == "ERR" && v.Class == conn.Transient:
				s.unguarded.Store(true)
			default:
				at, _ = s.see(reply, err) // of other trouble the read tells
			}
			unlock()
		},
		End: func() {
			unlock()
			if at != nil {
				s.tellUnread(before, place, at)
			}
		},
	}}, nil
}

var _ redis.Error = resp.AnswerError("")
