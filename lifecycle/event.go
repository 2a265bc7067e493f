package lifecycle

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-playground/validator/v10"

	"millrace/codec"
	"millrace/stream"
)

// DefaultStream is the key of the stream that user-lifecycle events are
// published to.
const DefaultStream = "user:lifecycle_events"

// The types of events that every [Consumer] and [Producer] knows.
const (
	// TypePermanentBlocked says that a user has been blocked for good.
	TypePermanentBlocked = "user.lifecycle.permanent_blocked"
	// TypeDeleted says that a user has been deleted.
	TypeDeleted = "user.lifecycle.deleted"
)

// Event is one user-lifecycle event. Its tags name its fields in the stream, and the
// rules for their values.
type Event struct {
	// EntryID is the ID of the entry that the event was read from. It is not
	// written.
	EntryID string `mapstructure:"-"`
	// EventType is the type of the event, such as [TypeDeleted]. Required.
	EventType string `mapstructure:"event_type,trim" validate:"required"`
	// UserID is the user that the event is about. Required.
	UserID string `mapstructure:"user_id,trim" validate:"required"`
	// OccurredAt is when it happened, in UTC; on the wire a positive number of
	// milliseconds since 1970. Required.
	OccurredAt time.Time `mapstructure:"occurred_at_ms,unixmilli" validate:"required,after_epoch"`
	// Source is the system that published the event.
	Source string `mapstructure:"source"`
	// ActorType and ActorID say who did it.
	ActorType string `mapstructure:"actor_type"`
	ActorID   string `mapstructure:"actor_id"`
	// ReasonCode says why.
	ReasonCode string `mapstructure:"reason_code"`
	// TraceID joins the event to the request that caused it.
	TraceID string `mapstructure:"trace_id"`
}

// Topic returns the topic of user-lifecycle events in the stream of the given
// name, usually [DefaultStream].
func Topic(name string) stream.Topic[Event] {
	return stream.Topic[Event]{
		Name:  name,
		Codec: codec.Struct[Event](codec.WithValidation("after_epoch", afterEpoch)),
	}
}

func afterEpoch(field validator.FieldLevel) bool {
	t, ok := field.Field().Interface().(time.Time)
	return ok && t.UnixMilli() > 0
}

// knownTypes returns the types that are always known, and more. White space around a
// type is removed, as the codec removes it around the type of an event: a type with
// white space would match no event.
func knownTypes(more []string) map[string]bool {
	known := map[string]bool{TypePermanentBlocked: true, TypeDeleted: true}
	for _, eventType := range more {
		known[strings.TrimSpace(eventType)] = true
	}
	return known
}

// checkTypes reports the blank ones among the types of a configuration.
func checkTypes(config string, more []string) error {
	var problems []error
	for i, eventType := range more {
		if strings.TrimSpace(eventType) == "" {
			problems = append(problems, fmt.Errorf("lifecycle: %s.EventTypes[%d] is blank: give an event type, or leave it out", config, i))
		}
	}
	return errors.Join(problems...)
}
