package offset

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Store keeps one offset per label. All methods are safe for concurrent use.
//
// A label is any text, the empty one included. Two labels that differ in any
// byte, be it the case of a letter or a space at the end, have two offsets. A
// label that a store cannot hold, bytes that are not UTF-8 for example, it
// refuses with an error.
type Store interface {
	// Load returns the offset stored under label: the ID of the last entry whose
	// processing is complete. When nothing is stored, found is false and err is
	// nil. Stored content that [Parse] refuses is an error that wraps
	// [ErrCorrupt], and never found = false: that would start the stream over.
	Load(ctx context.Context, label string) (id string, found bool, err error)

	// Save stores id under label, if it is above the stored offset. It never moves an offset
	// back: saving an ID at or below the stored one does nothing and returns nil, so that a
	// Save may be repeated.
	//
	// When Save returns nil, a Load that starts afterwards returns this ID or a
	// higher one. When it returns an error, the offset is the old or the new
	// one, and the offsets of other labels are as they were.
	//
	// An id that [Parse] refuses is refused with an error and changes nothing.
	// Where the stored content is no entry ID, Save leaves it there and
	// returns an error that wraps [ErrCorrupt].
	Save(ctx context.Context, label, id string) error
}

// Resetter is implemented by a [Store] that can also set an offset back. A consumer
// uses it when its place in the stream is lost, and the stream goes on below it: a
// store that cannot would bring the lost place back at the next start. The stores of
// this package implement it.
type Resetter interface {
	// Reset stores id under label, whatever is stored there. An id that [Parse]
	// refuses is refused with an error and changes nothing. It must not race with
	// Saves of the same label.
	Reset(ctx context.Context, label, id string) error
}

// Relocator is implemented by a [Store] that asks a server which others may replace. A
// consumer that finds its own server gone tells it so: one that waits for an answer of
// the same server would be the last to find out.
type Relocator interface {
	// Relocate has the store look anew where its server is. It does not wait.
	Relocate()
}

// Rebinder is implemented by a [Store] that lives in Redis. A consumer uses it when its
// Run starts, so that the store's commands, too, end with their context, go to
// primaries, and take none of the connections of the user's client.
type Rebinder interface {
	// Rebind returns a store with the same offsets that sends its commands with the
	// client that own makes of the store's own. The store itself stays as it is.
	Rebind(own func(redis.UniversalClient) (redis.UniversalClient, error)) (Store, error)
}

// Located is implemented by a [Store] that keeps each offset in Redis, as text in a hash, in the field
// that has the name of its label. A consumer with effects (stream.WithEffects) needs one: it moves
// the offset itself, in one step of the server with the outputs and counters of its handlers, and
// does not call Save and Reset.
type Located interface {
	// Location returns the client and the key of the hash.
	Location() (client redis.UniversalClient, key string)
}

// ErrCorrupt is wrapped by the errors of [Store.Load] and [Store.Save] when the stored text is
// not an entry ID. Waiting does not mend it: look at the stored value, then correct it, or
// remove it if the consumer shall start as if it had never run.
var ErrCorrupt = errors.New("the stored offset is corrupt: look at it, then correct or remove it")
