package compat

import (
	"crypto/rand"
	"fmt"

	"millrace/codec"
)

// WatermillMessage is a message of Watermill with its payload decoded.
type WatermillMessage[T any] struct {
	// UUID is the message's. Encode makes a random one where it is empty.
	UUID string
	// Metadata are texts by their names; nil for none.
	Metadata map[string]string
	// Payload is the event.
	Payload T
}

// Watermill is the codec of entries as the Redis Streams publisher of Watermill writes and its
// subscriber reads them: the fields _watermill_message_uuid, metadata (msgpack) and payload.
//
// An entry with other fields is read too. One without metadata has none; Watermill reads what
// this codec writes. Where metadata do not matter, [codec.JSON] reads such entries as it is.
type Watermill[T any] struct {
	// Payload is the codec of the field payload. It reads and writes that one field. Default:
	// codec.JSON[T]{}.
	Payload codec.Codec[T]
}

const (
	watermillUUID     = "_watermill_message_uuid"
	watermillMetadata = "metadata"
)

// Check reports what the codec of the payload reports.
func (w Watermill[T]) Check() error { return check(w.Payload) }

// Decode returns the message of an entry. Its error is a [codec.FieldErrors].
func (w Watermill[T]) Decode(fields codec.Fields) (message WatermillMessage[T], err error) {
	var zero WatermillMessage[T]
	if message.UUID, err = required[T](fields, watermillUUID); err != nil {
		return zero, err
	}
	metadata, _, err := optional[T](fields, watermillMetadata)
	if err != nil {
		return zero, err
	}
	if message.Metadata, err = readTexts(metadata); err != nil {
		return zero, fail[T](watermillMetadata, err.Error())
	}
	text, err := required[T](fields, payload)
	if err != nil {
		return zero, err
	}
	if message.Payload, err = innerOf(w.Payload).Decode(codec.FieldsOf(payload, text)); err != nil {
		return zero, err
	}
	return message, nil
}

// Encode returns the three fields of a message. Its error is a [codec.FieldErrors].
func (w Watermill[T]) Encode(message WatermillMessage[T]) ([]string, error) {
	if message.UUID == "" {
		message.UUID = newUUID()
	}
	metadata, err := writeTexts(message.Metadata)
	if err != nil {
		return nil, fail[T](watermillMetadata, err.Error())
	}
	pairs, err := innerOf(w.Payload).Encode(message.Payload)
	if err != nil {
		return nil, err
	}
	text, err := payloadOf[T](pairs)
	if err != nil {
		return nil, err
	}
	return []string{watermillUUID, message.UUID, watermillMetadata, metadata, payload, text}, nil
}

// newUUID returns a random UUID (version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
