package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
)

// Position is how far a reader of a stream has come: a consumer group, or a
// consumer in log mode whose offset is known. A [Trimmer] returns it.
type Position struct {
	// Owner is the name of the group or, if Label is set, the label of the offset.
	Owner string
	// Label is set for an offset, be it from a store or from a [Mirror].
	Label bool
	// ID is where the owner is: everything before this entry has been processed.
	ID string
	// State says whether that is true of the entry itself, and if not, why.
	State PositionState
}

// PositionState says why a [Position] is where it is.
type PositionState string

// The states of a position.
const (
	// PositionPassed is that of an owner with nothing pending: Position.ID is the
	// last entry that was delivered to the group, or the offset.
	PositionPassed PositionState = "passed"
	// PositionPending says that Position.ID was delivered to the group, and that
	// this has not been acked; it is the oldest of those.
	PositionPending PositionState = "pending"
	// PositionMissing says that the store has no offset under the label, so that
	// the consumer may start anywhere: Position.ID is 0-0.
	PositionMissing PositionState = "missing"
	// PositionAhead says that the position was beyond everything that the stream ever held: the
	// stream was made anew, or a failover has lost its end. The entries in it may be unread:
	// Position.ID is 0-0.
	PositionAhead PositionState = "ahead"
)

// String names the owner for people, such as group "billing".
func (p Position) String() string { return ownerName(p.Owner, p.Label) }

func ownerName(owner string, label bool) string {
	if label {
		return fmt.Sprintf("label %q", owner)
	}
	return fmt.Sprintf("group %q", owner)
}

// ownerAttr is the attribute of the log that names an owner.
func ownerAttr(owner string, label bool) []any {
	if label {
		return []any{"label", owner}
	}
	return []any{"group", owner}
}

// compare orders positions, those that are furthest behind first.
func (p Position) compare(other Position) int {
	// Both were parsed when they came.
	a, _ := offset.Parse(p.ID)
	b, _ := offset.Parse(other.ID)
	return a.Compare(b)
}

const positionPrefix = "millrace:position:"

// PositionGroup returns the name of the consumer group, without consumers, in which a [Mirror]
// shows the offset of a label. Destroy it (XGROUP DESTROY) when there is no such consumer any
// more. Do not consume with a group of such a name.
func PositionGroup(label string) string { return positionPrefix + label }

// Mirror is an [offset.Store] around another one that shows the offsets in the stream itself,
// where a [Trimmer] in any process, and every tool that lists groups, finds them. [NewMirror]
// makes one. The store decides; the mirror only keeps entries from being trimmed. It is safe
// for concurrent use.
//
// An offset is shown as the last delivered ID of the consumer group [PositionGroup], which has
// no consumer. It is never ahead of the store. It may be behind, after a Save that failed
// halfway, or while two processes save one label; then it holds entries back that are not
// needed, until the next. The group's lag is unknown (nil) unless it is zero.
//
// Each label is a group of the stream, and Redis shows the place of a group only in the
// list of all: a consumer in group mode or a trimmer that looks at one waits 1 to 2
// microseconds for each of them. A few hundred labels are fine, ten thousand are not.
type Mirror struct {
	client redis.UniversalClient
	stream string
	store  offset.Store
	shown  *shownPlaces
}

// shownPlaces are where a mirror, and all that were rebound from it, have shown labels.
type shownPlaces struct {
	mu      sync.Mutex // does not guard the fields of the places
	byLabel map[string]*shownPlace
}

// shownPlace is where a label was shown last, 0-0 where that is not known.
type shownPlace struct {
	showing task.Lock // held while it is shown
	id      offset.ID
}

// NewMirror makes a mirror of a store in the stream with the given key, the name
// of the topic whose consumers use it: one stream, one mirror, as many labels as
// there are consumers. It does no I/O and closes nothing. Everything that is wrong
// with the arguments comes back in one error, each problem wrapping
// [ErrInvalidOption].
//
// The client's user needs the Redis rights
//
//	~<topic> +xgroup|create +xgroup|setid
func NewMirror(client redis.UniversalClient, stream string, store offset.Store) (*Mirror, error) {
	if err := errors.Join(checkClient(client), checkStream(stream),
		checkPresent("store", store, "give an offset.Store, such as an *offset.File, whose offsets are to be shown")); err != nil {
		return nil, err
	}
	return &Mirror{client: client, stream: stream, store: store, shown: &shownPlaces{byLabel: make(map[string]*shownPlace)}}, nil
}

// Rebind implements [offset.Rebinder], for the mirror and for its store.
func (m *Mirror) Rebind(own func(redis.UniversalClient) (redis.UniversalClient, error)) (offset.Store, error) {
	bound := *m
	var err error
	if bound.client, err = own(m.client); err != nil {
		return nil, err
	}
	if store, ok := m.store.(offset.Rebinder); ok {
		bound.store, err = store.Rebind(own)
	}
	return &bound, err
}

// Load implements [offset.Store]: it returns the store's offset, once the mirror is there too,
// back if need be, or at 0-0 if the store has nothing. So the entries that a consumer is about
// to read are kept from its start, before there is an offset. It makes the stream if it is
// missing.
func (m *Mirror) Load(ctx context.Context, label string) (id string, found bool, err error) {
	id, found, err = load(ctx, m.store, label)
	if err != nil {
		return "", false, err
	}
	at := id
	if !found {
		at = resp.Beginning
	}
	if err := m.show(ctx, label, at, true); err != nil {
		return "", false, err
	}
	return id, found, nil
}

// Save implements [offset.Store]: it saves the offset in the store and then, with
// one command more, moves the mirror there, but never back from where this Mirror has
// shown the label. An error of either is returned; after it, Save may be repeated.
func (m *Mirror) Save(ctx context.Context, label, id string) error {
	// The store first: a mirror ahead of it would give up entries that come again.
	if err := save(ctx, m.store, label, id); err != nil {
		return err
	}
	return m.show(ctx, label, id, false)
}

func (m *Mirror) show(ctx context.Context, label, id string, back bool) error {
	// Redis takes "$" too, which another store may let pass.
	parsed, err := offset.Parse(id)
	if err != nil {
		return fmt.Errorf("stream: the offset %q cannot be shown in %s: %w", label, m.stream, err)
	}
	place := m.shown.of(label)
	if err := place.showing.Lock(ctx); err != nil {
		return err
	}
	defer place.showing.Unlock()
	if !back && parsed.Compare(place.id) < 0 {
		return nil
	}
	if err := m.move(ctx, PositionGroup(label), parsed.String()); err != nil {
		return fmt.Errorf("stream: showing the offset %q in %s: %w", label, m.stream, err)
	}
	place.id = parsed
	return nil
}

func (p *shownPlaces) of(label string) *shownPlace {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byLabel[label] == nil {
		p.byLabel[label] = &shownPlace{showing: task.NewLock()}
	}
	return p.byLabel[label]
}

// move moves a group, and makes it, and the stream, if it is missing. It does not look
// where the group is: that would take a list of all of them each time.
func (m *Mirror) move(ctx context.Context, group, id string) error {
	err := m.client.XGroupSetID(ctx, m.stream, group, id).Err()
	if !classify(err).Answered() {
		return err
	}
	err = m.client.XGroupCreateMkStream(ctx, m.stream, group, id).Err()
	if classify(err).Code == "BUSYGROUP" { // made meanwhile
		return m.client.XGroupSetID(ctx, m.stream, group, id).Err()
	}
	return err
}

func checkStream(name string) error {
	if isBlank(name) {
		return invalid("stream %q: give the key of the stream, which is the topic's Name", name)
	}
	return nil
}
