package lifecycle_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/codec"
	"millrace/lifecycle"
)

func wire(changes ...string) codec.Fields {
	pairs := []string{
		"event_type", "user.lifecycle.deleted", "user_id", "u1", "occurred_at_ms", "1700000000123",
		"source", "admin", "actor_type", "operator", "actor_id", "o1", "reason_code", "gdpr", "trace_id", "t1",
	}
	for i := 0; i < len(changes); i += 2 {
		if at := slices.Index(pairs, changes[i]); at >= 0 {
			pairs = slices.Delete(pairs, at, at+2)
		}
		if changes[i+1] != "(missing)" {
			pairs = append(pairs, changes[i], changes[i+1])
		}
	}
	return codec.FieldsOf(pairs...)
}

func TestEventFromTheWireAndBack(t *testing.T) {
	t.Parallel()
	decoder := lifecycle.Topic(lifecycle.DefaultStream).Codec
	got, err := decoder.Decode(wire("user_id", " u1\t", "event_type", " user.lifecycle.deleted "))
	if err != nil {
		t.Fatal(err)
	}
	want := lifecycle.Event{
		EventType: lifecycle.TypeDeleted, UserID: "u1", OccurredAt: time.UnixMilli(1700000000123).UTC(),
		Source: "admin", ActorType: "operator", ActorID: "o1", ReasonCode: "gdpr", TraceID: "t1",
	}
	if got != want || got.OccurredAt.Location() != time.UTC {
		t.Errorf("got %+v, want %+v", got, want)
	}
	pairs, err := decoder.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(pairs, []string{
		"event_type", "user.lifecycle.deleted", "user_id", "u1", "occurred_at_ms", "1700000000123",
		"source", "admin", "actor_type", "operator", "actor_id", "o1", "reason_code", "gdpr", "trace_id", "t1",
	}) {
		t.Errorf("encoded as %q", pairs)
	}
	if minimal, err := decoder.Decode(wire("source", "(missing)", "actor_type", "(missing)", "actor_id", "(missing)", "reason_code", "(missing)", "trace_id", "(missing)")); err != nil || minimal.UserID != "u1" {
		t.Errorf("only what is required: %+v, %v", minimal, err)
	}
}

func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	decoder := lifecycle.Topic(lifecycle.DefaultStream).Codec
	for field, values := range map[string][]string{
		"event_type":     {"(missing)", "", "  ", "\t\n"},
		"user_id":        {"(missing)", "", "  ", "\t\n"},
		"occurred_at_ms": {"(missing)", "", " ", "soon", "-1", "0", "000", "0x10", "1_000", "1e3", "1.5", " 5", "99999999999999999999"},
	} {
		for _, value := range values {
			_, err := decoder.Decode(wire(field, value))
			var bad *codec.FieldError
			if !errors.As(err, &bad) || bad.Field != field {
				t.Errorf("%s %q: got %v, want a FieldError of that field", field, value, err)
			}
		}
	}
	_, err := decoder.Decode(wire("event_type", " ", "user_id", "(missing)", "occurred_at_ms", "s3cr3t"))
	for _, field := range []string{"event_type", "user_id", "occurred_at_ms"} {
		if err == nil || !strings.Contains(err.Error(), field) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("got %v, want all bad fields and no value", err)
		}
	}
	if event, err := decoder.Decode(wire("occurred_at_ms", "01700000000123")); err != nil || event.OccurredAt.UnixMilli() != 1700000000123 {
		t.Errorf("a leading zero: %v, %v", event.OccurredAt, err)
	}
}
