package compat

import (
	"bytes"
	"encoding/json"

	"millrace/codec"
)

// Change is the value of a change event of Debezium, for [codec.JSON]. It takes both forms: the
// event alone, and with schemas.enable the event in an envelope of schema and payload. The
// schema is not looked at.
type Change[T any] struct {
	// Before and After are the row, nil where there is none.
	Before, After *T
	// Op is c (created), u (updated), d (deleted), r (read by a snapshot), t (truncated) or m.
	Op string
	// Source is where the change comes from, as JSON.
	Source json.RawMessage
	// Millis is when the connector processed the change, in Unix milliseconds.
	Millis int64
}

type change[T any] struct {
	Before *T              `json:"before"`
	After  *T              `json:"after"`
	Op     string          `json:"op"`
	Source json.RawMessage `json:"source,omitempty"`
	Millis int64           `json:"ts_ms"`
}

type changeError string

func (e changeError) Error() string { return string(e) }

// UnmarshalJSON sets the change from either form. Its error has no value.
func (c *Change[T]) UnmarshalJSON(data []byte) error {
	var envelope struct {
		Schema  json.RawMessage `json:"schema"`
		Payload json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil {
		return changeError("compat: the change is no JSON object")
	}
	if envelope.Schema != nil {
		if len(envelope.Payload) == 0 || bytes.Equal(envelope.Payload, []byte("null")) {
			return changeError("compat: the envelope of the change has no payload")
		}
		data = envelope.Payload
	}
	var inner change[T]
	if err := json.Unmarshal(data, &inner); err != nil {
		return changeError("compat: the change does not fit its type")
	}
	switch inner.Op {
	case "c", "u", "r":
		if inner.After == nil {
			return changeError("compat: the change has no row after it")
		}
	case "d", "t", "m":
	default:
		return changeError("compat: the change has no operation that is known")
	}
	*c = Change[T](inner)
	return nil
}

// MarshalJSON returns the event alone.
func (c Change[T]) MarshalJSON() ([]byte, error) {
	if c.Op == "" {
		return nil, changeError("compat: the change has no operation")
	}
	return json.Marshal(change[T](c))
}

// Row is a row that has changed, with its key as Debezium writes it: JSON, most often.
type Row[T any] struct {
	Key string
	// Deleted is set for a tombstone, which follows a deletion. Value is the zero value then.
	Deleted bool
	Value   T
}

// DebeziumTombstone is the text that Debezium Server writes in place of a null, unless its
// option null.value says otherwise.
const DebeziumTombstone = "default"

// DebeziumCompact is the codec of entries as Debezium Server writes them in its compact form: one
// field, whose name is the key of the row. Headers, see [codec.IsHeader], do not count.
type DebeziumCompact[T any] struct {
	// Value is the codec of the value, as a field called payload. Default: codec.JSON[T]{}.
	Value codec.Codec[T]
	// Tombstone is the text of a null, as the option null.value says. Default:
	// [DebeziumTombstone].
	Tombstone string
}

// Check reports what the codec of the value reports.
func (d DebeziumCompact[T]) Check() error { return check(d.Value) }

// Decode returns the row of an entry. Its error is a [codec.FieldErrors], in which the field is
// called (value): its name is a value.
func (d DebeziumCompact[T]) Decode(fields codec.Fields) (row Row[T], err error) {
	const name = "(value)"
	text, found := "", false
	for key, value := range fields.All() {
		if codec.IsHeader(key) {
			continue
		}
		if found {
			return Row[T]{}, fail[T](name, "is not the only field; the extended form has two, for which codec.JSON serves")
		}
		row.Key, text, found = key, value, true
	}
	switch {
	case !found:
		return Row[T]{}, fail[T](name, "is missing")
	case text == d.tombstone():
		row.Deleted = true
		return row, nil
	}
	if row.Value, err = innerOf(d.Value).Decode(codec.FieldsOf(payload, text)); err != nil {
		return Row[T]{}, renamed(err, name)
	}
	return row, nil
}

// Encode returns the one field of a row. Its error is a [codec.FieldErrors].
func (d DebeziumCompact[T]) Encode(row Row[T]) ([]string, error) {
	const name = "(value)"
	if codec.IsHeader(row.Key) {
		return nil, fail[T](name, "has a key with the name of a header, and would not be read again")
	}
	if row.Deleted {
		return []string{row.Key, d.tombstone()}, nil
	}
	pairs, err := innerOf(d.Value).Encode(row.Value)
	if err != nil {
		return nil, renamed(err, name)
	}
	text, err := payloadOf[T](pairs)
	if err != nil {
		return nil, err
	}
	if text == d.tombstone() {
		return nil, fail[T](name, "has the text of a tombstone, and would be read as one")
	}
	return []string{row.Key, text}, nil
}

func (d DebeziumCompact[T]) tombstone() string {
	if d.Tombstone == "" {
		return DebeziumTombstone
	}
	return d.Tombstone
}
