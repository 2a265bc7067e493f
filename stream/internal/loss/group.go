package loss

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

// Group is a consumer group whose losses are looked for by one of its consumers.
type Group struct {
	Stream
	Group, Consumer string
	// Start is the ID behind which the group begins; empty is the beginning, or the end at
	// the time.
	Start string
	// Position returns the ID of the last entry that this consumer has read, or behind which
	// it began.
	Position func() string
	// Tell is called with each loss, by the goroutine that has found it. No mutex is held
	// meanwhile.
	Tell func(Finding)
}

// GroupFinder finds the losses of a consumer group: entries that the group will never read,
// and a place of the group that the stream does not have any more.
//
// The goroutine of the consumer calls Begin, ReadFailed, Compare, PlaceOf and Remade, the claimer
// Check and TellSkipped. Read, Guard, GuardsAll and ReadDone are called by the goroutine that
// reads: the consumer's or, while that waits, a lane's of a Runner.
type GroupFinder struct {
	of Group

	// checking is held while the group is looked at, and by a guard until its reply; it
	// guards view.
	checking task.Lock
	view     groupView
	account  account

	// troubled is set when a read has failed: another server may answer, or the same
	// one after a restart. remade is set when the group was made again, or the stream
	// has gone back. toldBack is set when a look has found that the stream has gone back,
	// until something is read: Compare would find it again.
	troubled, remade, toldBack atomic.Bool
	// unguarded is set once reads cannot be guarded, unloaded when the server does not have
	// the script yet.
	unguarded, unloaded atomic.Bool

	// last is the last entry that was read, none until then. It belongs to the goroutine
	// that reads.
	last resp.Place
}

// NewGroupFinder returns a finder of the losses of a group.
func NewGroupFinder(g Group) *GroupFinder {
	return &GroupFinder{of: g, checking: task.NewLock()}
}

// Stream returns the stream of the group.
func (f *GroupFinder) Stream() Stream { return f.of.Stream }

// Begin looks at the group before anything is read. Of a group that was just made nothing is
// lost.
func (f *GroupFinder) Begin(ctx context.Context, made bool) error {
	if err := f.checking.Lock(ctx); err != nil {
		return err
	}
	defer f.checking.Unlock()
	f.view = unseen
	at, err := f.look(ctx, "")
	if err == nil && at != nil && !made {
		f.tell(unseen, "", at)
	}
	return err
}

// Check finds out whether entries have gone that the group will never read, or its place has.
func (f *GroupFinder) Check(ctx context.Context) error {
	if err := f.checking.Lock(ctx); err != nil {
		return err
	}
	defer f.checking.Unlock()
	before, place := f.recall()
	at, err := f.look(ctx, place)
	if err != nil || at == nil {
		return err
	}
	f.tell(before, place, at)
	return nil
}

// recall returns the view of the last time, as far as it still counts, and a place
// that the group has passed. f.checking must be held.
func (f *GroupFinder) recall() (before groupView, place string) {
	if f.remade.Swap(false) {
		f.view = unseen
	}
	if f.troubled.Swap(false) {
		f.view.read, f.view.deleted, f.view.added = -1, "", 0
	}
	// The group has passed the entries that were read here.
	place = f.view.place
	if own := f.of.Position(); resp.CompareIDs(own, place) > 0 {
		place = own
	}
	return f.view, place
}

// look asks for the state of the group, and has the account say later whether the group was
// given more than its consumers. f.checking must be held.
func (f *GroupFinder) look(ctx context.Context, place string) (*groupState, error) {
	look := f.account.begin()
	at, err := f.ask(ctx, place)
	f.account.end(look, at)
	return at, err
}

// ask asks for the state of the group. It returns nil where there is nothing to say.
// f.checking must be held.
func (f *GroupFinder) ask(ctx context.Context, place string) (*groupState, error) {
	reply, err := script.Unread.Run(ctx, f.of.Client, []string{f.of.Name}, f.arguments(place, f.of.Consumer)...).Slice()
	at, err := f.see(reply, err)
	if err != nil {
		return nil, fmt.Errorf("looking for entries that the group will not read: %w", err)
	}
	return at, nil
}

// arguments returns the arguments of the script. f.checking must be held.
func (f *GroupFinder) arguments(place, consumer string) []any {
	write := 1
	if f.view.kept {
		write = 0
	}
	return []any{f.of.Group, place, f.of.Start, f.view.read, write, consumer}
}

// see takes in the reply of the script, and returns nil where nothing can be known.
// f.checking must be held.
func (f *GroupFinder) see(reply []any, err error) (*groupState, error) {
	at, err := stateOf(reply, err)
	if at != nil {
		f.view = at.view()
	}
	return at, err
}

// tell tells a loss that the state of the group shows, given the view of the last time and a
// place that the group has passed.
func (f *GroupFinder) tell(before groupView, place string, at *groupState) {
	found := at.diagnose(before, place)
	if found.Cause == None {
		return
	}
	f.account.void(false) // it would find the same
	if found.Back != "" {
		f.toldBack.Store(true)
	}
	f.of.Tell(found)
}

// GuardsAll reports whether each read is to be guarded, though nothing can have gone since the
// one before: as long as the count of the account has not begun, a loss during a read would not
// be seen by any look.
func (f *GroupFinder) GuardsAll() bool { return !f.unguarded.Load() && f.account.wanting() }

// Guard makes a look at the group that is sent in front of a read. One that is patient waits
// for another look that is on its way, and has the server learn the script. The count of the
// account begins with the guard, if it has not yet.
func (f *GroupFinder) Guard(ctx context.Context, patient bool) (conn.Guards, error) {
	if f.unguarded.Load() || !patient && f.unloaded.Load() {
		return nil, nil
	}
	if patient {
		locking, cancel := context.WithTimeout(ctx, conn.AnswerTimeout)
		defer cancel()
		if err := f.checking.Lock(locking); err != nil {
			return nil, ctx.Err() // if the server does not answer the other look, reading finds out
		}
	} else if !f.checking.TryLock() {
		return nil, nil
	}
	if f.unloaded.Swap(false) { // the server is another one, or was restarted
		before, place := f.recall()
		if at, err := f.ask(ctx, place); err == nil && at != nil {
			f.tell(before, place, at)
		}
	}
	before, place := f.recall()
	consumer, count := "", func(*groupState) {}
	if f.account.wanting() {
		look := f.account.begin()
		consumer, count = f.of.Consumer, func(at *groupState) { f.account.end(look, at) }
	}
	words := append([]any{"evalsha", script.Unread.Hash(), 1, f.of.Name}, f.arguments(place, consumer)...)
	var at *groupState
	held := true
	unlock := func() {
		if held {
			held = false
			count(at)
			f.checking.Unlock()
		}
	}
	return conn.Guards{{
		Command: resp.CommandOf(words),
		Answer: func(reply []any, err error) {
			at = f.answered(reply, err)
			unlock()
		},
		End: func() {
			unlock()
			if at != nil {
				f.tell(before, place, at)
			}
		},
	}}, nil
}

// answered takes in the answer to a guard. f.checking must be held.
func (f *GroupFinder) answered(reply []any, err error) *groupState {
	if reply == nil && err == nil {
		err = redis.Nil
	}
	v := conn.Classify(err)
	switch {
	case v.Code == "NOSCRIPT":
		f.unloaded.Store(true)
	case v.Withheld, v.Code == "ERR" && v.Class == conn.Transient:
		f.unguarded.Store(true)
	default:
		at, _ := f.see(reply, err) // of other trouble the read tells
		return at
	}
	return nil
}

// Read takes note of entries that were read, and returns the ID of the last one.
func (f *GroupFinder) Read(b resp.Batch) (last string) {
	if len(b.Left) == 0 {
		f.last = resp.PlaceAfter(b.Entries)
	} else {
		f.last = resp.Place{ID: b.LastID(), Seen: true}
	}
	f.toldBack.Store(false)
	f.account.read(b.FirstID(), b.Len())
	return f.last.ID
}

// ReadFailed takes note of a read that has failed: unless the server has answered, the read may
// have brought entries that never arrived.
func (f *GroupFinder) ReadFailed(err error) {
	f.account.void(!conn.Classify(err).Answered())
	f.troubled.Store(true)
}

// PlaceOf returns the place of the entry that was read last, if it has this ID, and else one
// that is told by the ID alone.
func (f *GroupFinder) PlaceOf(id string) resp.Place {
	if f.last.ID == id {
		return f.last
	}
	return resp.Place{ID: id}
}

// Remade takes note that the group was made again; back says that its stream is another one.
func (f *GroupFinder) Remade(back bool) {
	f.remade.Store(true)
	if back {
		f.last = resp.Place{}
	}
}

// Compare finds out, after trouble with the server, whether the stream is
// still the one that was read here: after a failover or a restart it may lack the
// last entries, and the group goes on as if they had never been.
func (f *GroupFinder) Compare(ctx context.Context) error {
	if f.toldBack.Swap(false) {
		f.last = resp.Place{} // a look was faster
	}
	if f.last.ID == "" {
		return nil
	}
	seen, err := f.of.survey(ctx, f.last)
	if err != nil {
		if conn.Classify(err).Withheld {
			return nil
		}
		return err
	}
	if seen.missing {
		return nil // the reader makes the group again, and tells it
	}
	found := seen.diagnose(f.last.ID, -1)
	if found.Cause == None || found.Cause == Trimmed {
		return nil // others may have trimmed entries that were read
	}
	found.Back = seen.last
	f.Remade(true)
	f.of.Tell(found)
	return nil
}

// ReadDone takes note that a read has come back, and reports whether there is something for
// TellSkipped to tell.
func (f *GroupFinder) ReadDone() (skipped bool) { return f.account.round() }

// TellSkipped tells of entries that the group has passed without giving them to a consumer.
func (f *GroupFinder) TellSkipped() {
	if found := f.account.takeSkipped(); found.Cause != None {
		f.of.Tell(found)
	}
}
