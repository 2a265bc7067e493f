package loss

import (
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// groupState is how a group stands at one moment, as script.Unread returns it.
type groupState struct {
	found            string
	lost             int64
	last, now, first string
	read, sure       int64
	added, length    int64
	deleted          string
	generated        string
	quiet            int64
	others           string
	timed            int64
}

// stateOf reads the reply of the script. It returns nil without a group, and where nothing
// can be known.
func stateOf(reply []any, err error) (*groupState, error) {
	var at groupState
	v := conn.Classify(err)
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case v.Withheld, v.Code == "ERR" && v.Class == conn.Transient:
		return nil, nil // without the right, or on a server without the counters, it cannot be known
	case err != nil:
		return nil, err
	case !script.Scan(reply, &at.found, &at.lost, &at.last, &at.now, &at.first, &at.read, &at.sure, &at.added, &at.length, &at.deleted,
		&at.generated, &at.quiet, &at.others, &at.timed):
		return nil, nil
	}
	return &at, nil
}

// groupView is the state of a group and its stream as a consumer saw it when it looked last.
type groupView struct {
	place   string // of the group; everything up to there was in order
	read    int64  // Redis' count of the entries that the group has read; -1 is not known, or not to be relied on
	deleted string // the highest ID that was deleted by ID; empty is not known
	added   int64  // entries that were ever added to the stream; 0 is not known
	// kept is set once the count was written in a way that a restart keeps.
	kept bool
}

// unseen is the view of a group that was not looked at yet.
var unseen = groupView{read: -1}

// view returns the state for the next look to compare with.
func (at *groupState) view() groupView {
	v := groupView{place: at.now, read: -1, deleted: at.deleted, added: max(0, at.added), kept: at.read >= 0}
	if at.sure == 1 {
		v.read = at.read
	}
	return v
}

// diagnose returns the loss that the state shows, given the view of the last time and a place
// that the group has passed.
func (at *groupState) diagnose(before groupView, place string) Finding {
	switch {
	case at.added > 0 && at.added < before.added:
		// The stream has had more entries than were ever added to this one: with its group
		// it was made again, or restored, so that no read has failed.
		if resp.CompareIDs(place, at.last) <= 0 { // perhaps of this one
			place = before.place
		}
		cause := Recreated
		if at.length > 0 && resp.CompareIDs(at.generated, place) < 0 { // a failover, or a restart
			cause = Ahead
		}
		return Finding{Cause: cause, From: place, To: at.first, Count: -1, Back: at.now}
	case at.found == "ahead":
		return Finding{Cause: Ahead, From: at.last, To: at.first, Count: -1, Back: at.now}
	case at.found == "unread", at.found == "bound":
		found := Finding{Cause: Trimmed, From: at.last, To: at.first, Count: at.lost, Exact: at.found == "unread"}
		if at.first == "" && before.place != "" && before.place != at.last {
			// The entries that are left have been read already.
			found.From, found.To = before.place, at.last
		}
		return found
	case resp.CompareIDs(at.deleted, at.last) > 0 && at.last != resp.Beginning && at.deleted != before.deleted &&
		(at.read >= 0 || before.deleted != ""):
		// No consumer can have read it: either nothing was read since it was deleted, or
		// Redis would not know its own count any more; or it was not deleted the last time.
		count := at.added - at.length
		if at.read >= 0 {
			count = min(count, at.added-at.read)
		}
		return Finding{Cause: Trimmed, From: at.last, To: at.deleted, Count: count}
	case before.read >= 0 && at.read < 0 && resp.CompareIDs(at.last, place) > 0 &&
		at.deleted == before.deleted && (at.deleted == resp.Beginning || resp.CompareIDs(at.deleted, before.place) < 0):
		// Redis has lost count of the entries that were read, and not because something was deleted.
		return Finding{Cause: GroupMoved, From: place, To: at.last, Count: at.added - before.read}
	}
	return Finding{}
}

// standpoint is where a group stands when it is looked at.
type standpoint struct {
	place, deleted, others string
	nth, gone              int64 // of the entry at the place; of those that were ever added
	timed                  bool
	begun                  time.Time // before the look
}

// standpoint returns where the group stood, nil if that is not known.
func (at *groupState) standpoint(begun time.Time) *standpoint {
	if at == nil || at.quiet == 0 || at.found != "" {
		return nil
	}
	stands := &standpoint{
		place: at.last, deleted: at.deleted, others: at.others, nth: at.read, gone: at.added - at.length,
		timed: at.timed == 1 || at.others == noOthers, begun: begun,
	}
	if at.last == at.generated {
		stands.nth = at.added
	} else if !at.placed() {
		return nil
	}
	return stands
}

// placed reports whether the number of the group's place is known.
func (at *groupState) placed() bool { return at.last == at.generated || at.sure == 1 }

// noOthers is the script's hash of no names.
const noOthers = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

// alone reports whether no other consumer was given anything since an earlier look.
func (s *standpoint) alone(since *standpoint, quiet int64) bool {
	const slack = 100 * time.Millisecond // a server's clock stands still during a command
	return s.others == since.others && resp.CompareIDs(s.place, since.place) >= 0 &&
		(quiet < 0 || time.Duration(quiet)*time.Millisecond > time.Since(since.begun)+slack)
}
