package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
)

// groupView is what a consumer in group mode has seen of its group, and of the stream,
// when it looked last.
type groupView struct {
	place   string // of the group; everything up to there was in order
	read    int64  // Redis' count of what the group has read; -1 is not known, or not to be relied on
	deleted string // the highest ID that was deleted by ID; empty is not known
	added   int64  // entries that were ever added to the stream; 0 is not known
	// kept is set once the count was written in a way that a restart keeps.
	kept bool
}

var maxSeq = strconv.FormatUint(math.MaxUint64, 10)

// groupState is what the script returns.
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

// checkGroup finds out, now and then, whether entries have gone that the group will
// never read, or its place has.
func (s *groupSource) checkGroup(ctx context.Context) error {
	if err := s.checking.Lock(ctx); err != nil {
		return err
	}
	defer s.checking.Unlock()
	before, place := s.recall()
	at, err := s.queryAndCount(ctx, place)
	if err != nil || at == nil {
		return err
	}
	s.tellUnread(before, place, at)
	return nil
}

// checkAtStart is that before anything is read. Of a group that was just made nothing is
// lost.
func (s *groupSource) checkAtStart(ctx context.Context, made bool) error {
	s.view = groupView{read: -1}
	at, err := s.queryAndCount(ctx, "")
	if err == nil && at != nil && !made {
		s.tellUnread(groupView{read: -1}, "", at)
	}
	return err
}

// recall returns the view of the last time, as far as it still counts, and a place
// that the group has passed. s.looking must be held.
func (s *groupSource) recall() (before groupView, place string) {
	if s.remade.Swap(false) {
		s.view = groupView{read: -1}
	}
	if s.troubled.Swap(false) {
		s.view.read, s.view.deleted, s.view.added = -1, "", 0
	}
	// The group has passed the entries that were read here.
	place = s.view.place
	if own := s.window.at(); resp.CompareIDs(own, place) > 0 {
		place = own
	}
	return s.view, place
}

// queryAndCount looks, and has the account say later whether the group was given more
// than its consumers. s.looking must be held.
func (s *groupSource) queryAndCount(ctx context.Context, place string) (*groupState, error) {
	look := s.account.begin()
	at, err := s.queryGroup(ctx, place)
	s.account.end(look, at)
	return at, err
}

// queryGroup runs the script. It returns nil where it has nothing to say.
func (s *groupSource) queryGroup(ctx context.Context, place string) (*groupState, error) {
	reply, err := script.Unread.Run(ctx, s.client, []string{s.stream}, s.lookArgs(place, s.name)...).Slice()
	at, err := s.see(reply, err)
	if err != nil {
		return nil, fmt.Errorf("looking for entries that the group will not read: %w", err)
	}
	return at, nil
}

// lookArgs returns the arguments of the script. s.looking must be held.
func (s *groupSource) lookArgs(place, name string) []any {
	start := ""
	if s.config.start.after != nil {
		start = *s.config.start.after
	}
	write := 1
	if s.view.kept {
		write = 0
	}
	return []any{s.group, place, start, s.view.read, write, name}
}

// see takes in the reply of the script. It returns nil without a group, and where nothing
// can be known.
func (s *groupSource) see(reply []any, err error) (*groupState, error) {
	var at groupState
	v := classify(err)
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
	s.view = groupView{place: at.now, read: -1, deleted: at.deleted, added: max(0, at.added), kept: at.read >= 0}
	if at.sure == 1 {
		s.view.read = at.read
	}
	return &at, nil
}

// tellUnread tells what was found, given what was seen the last time and a place that
// the group has passed.
func (s *groupSource) tellUnread(before groupView, place string, at *groupState) {
	loss := at.loss(before, place)
	if loss == nil {
		return
	}
	s.account.void() // it would find the same
	if loss.Cause == LossRecreated || loss.Cause == LossAhead {
		s.window.moveBack(at.now)
		s.toldBack.Store(true)
	}
	s.reportLoss(s.log(), loss)
}

// loss returns the loss, nil if there is none.
func (at *groupState) loss(before groupView, place string) *LossError {
	switch {
	case at.added > 0 && at.added < before.added:
		// The stream has had more entries than were ever added to this one: with its group
		// it was made again, or restored, so that no read has failed.
		if resp.CompareIDs(place, at.last) <= 0 { // perhaps of this one
			place = before.place
		}
		cause := LossRecreated
		if at.length > 0 && resp.CompareIDs(at.generated, place) < 0 { // a failover, or a restart
			cause = LossAhead
		}
		return &LossError{Cause: cause, From: place, To: at.first, Count: -1}
	case at.found == "ahead":
		return &LossError{Cause: LossAhead, From: at.last, To: at.first, Count: -1}
	case at.found == "unread", at.found == "bound":
		loss := &LossError{Cause: LossTrimmed, From: at.last, To: at.first, Count: at.lost, Exact: at.found == "unread"}
		if at.first == "" && before.place != "" && before.place != at.last {
			// What is left has been read already.
			loss.From, loss.To = before.place, at.last
		}
		return loss
	case resp.CompareIDs(at.deleted, at.last) > 0 && at.last != resp.Beginning && at.deleted != before.deleted &&
		(at.read >= 0 || before.deleted != ""):
		// Nobody can have read it: either nothing was read since it was deleted, or
		// Redis would not know its own count any more; or it was not deleted the last time.
		count := at.added - at.length
		if at.read >= 0 {
			count = min(count, at.added-at.read)
		}
		return &LossError{Cause: LossTrimmed, From: at.last, To: at.deleted, Count: count}
	case before.read >= 0 && at.read < 0 && resp.CompareIDs(at.last, place) > 0 &&
		at.deleted == before.deleted && (at.deleted == resp.Beginning || resp.CompareIDs(at.deleted, before.place) < 0):
		// Redis has lost count of what was read, and not because something was deleted.
		return &LossError{Cause: LossMoved, From: place, To: at.last, Count: at.added - before.read}
	}
	return nil
}

// compareHistory finds out, after trouble with the server, whether the stream is
// still the one that was read here: after a failover or a restart it may lack the
// last entries, and the group goes on as if they had never been.
func (s *groupSource) compareHistory(ctx context.Context) error {
	if s.toldBack.Swap(false) {
		s.lastRead = resp.Place{} // a look around was faster
	}
	if s.lastRead.ID == "" {
		return nil
	}
	seen, err := surveyOf(ctx, s.client, s.stream, s.lastRead, s.maxEntry)
	if err != nil {
		if classify(err).Withheld {
			return nil
		}
		return err
	}
	if seen.missing {
		return nil // mend tells it
	}
	loss := diagnose(s.lastRead.ID, -1, seen)
	if loss == nil || loss.Cause == LossTrimmed {
		return nil // the others may have trimmed what was read
	}
	s.lastRead = resp.Place{}
	s.remade.Store(true)
	s.window.moveBack(seen.last)
	s.reportLoss(s.log(), loss)
	return nil
}
