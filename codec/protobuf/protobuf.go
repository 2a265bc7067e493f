// Package protobuf has the codec of topics whose events are protocol buffers. It is a module of
// its own, so that programs without it do not get its dependency.
//
//	var Orders = stream.Topic[*pb.Order]{Name: "orders", Codec: protobuf.Binary[*pb.Order]{}}
package protobuf

import (
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"

	"millrace/codec"
)

// maxDepth bounds how deep messages nest, as codec bounds JSON: each level costs stack.
const maxDepth = 100

// Binary is the codec of entries that hold a message in the binary format in one field. M is a
// pointer to a generated message, such as *pb.Order. The zero value is ready to use; it is
// safe for concurrent use.
//
// Decoding refuses a missing field, bytes that are not the message's, text that is not UTF-8
// where proto3 wants it, required fields that are not set, and messages that nest deeper than 100
// levels. No bytes at all are a message of zeros, as its format says. Fields of the message that M
// does not know are kept, so that producers can add fields first, and are written again.
// Encoding writes the same bytes for the same message in one version of a program. Other fields
// of the entry are ignored, headers included. Errors name the field and contain no value.
type Binary[M proto.Message] struct {
	// Field is the name of the entry's field; empty means "payload".
	Field string
}

// Check reports an M that is no pointer to a message.
func (b Binary[M]) Check() error {
	if t := reflect.TypeFor[M](); t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("protobuf.Binary[%s]: it is no pointer to a generated message, so that none can be made; name its type, such as *pb.Order", t)
	}
	return nil
}

// Decode returns the message in the field. Its error is a [codec.FieldErrors], or that of Check.
func (b Binary[M]) Decode(fields codec.Fields) (message M, err error) {
	if err := b.Check(); err != nil {
		return message, err
	}
	return b.field().Decode(fields)
}

// Encode returns the field and the bytes of the message. It refuses a nil, and does not look at
// how deep the message nests. Its error is a [codec.FieldErrors], or that of Check.
func (b Binary[M]) Encode(message M) ([]string, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	return b.field().Encode(message)
}

var (
	errNil  = errors.New("the message is nil; give one")
	errType = errors.New("the methods of the message make messages of another type; use a generated one")
)

func (b Binary[M]) field() codec.Field[M] {
	return codec.Field[M]{Name: b.Field, Marshal: marshal[M], Unmarshal: unmarshal[M]}
}

func marshal[M proto.Message](message M) ([]byte, error) {
	if !message.ProtoReflect().IsValid() {
		return nil, errNil
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(message)
}

func unmarshal[M proto.Message](data []byte, message *M) error {
	empty, ok := (*message).ProtoReflect().New().Interface().(M)
	if !ok {
		return errType
	}
	*message = empty
	return proto.UnmarshalOptions{RecursionLimit: maxDepth}.Unmarshal(data, empty)
}
