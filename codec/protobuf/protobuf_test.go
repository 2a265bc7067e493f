package protobuf_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"millrace/codec"
	"millrace/codec/protobuf"
)

var (
	_ codec.Codec[*structpb.Struct] = protobuf.Binary[*structpb.Struct]{}
	_ codec.Checker                 = protobuf.Binary[*structpb.Struct]{}
)

func sample(t *testing.T) *structpb.Struct {
	t.Helper()
	message, err := structpb.NewStruct(map[string]any{"id": "o-1", "count": 7.0, "items": []any{"tea", nil, true}, "more": map[string]any{"a": 1.0}})
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func TestBinary(t *testing.T) {
	t.Parallel()
	message := sample(t)
	for _, c := range []protobuf.Binary[*structpb.Struct]{{}, {Field: "body"}} {
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		pairs, err := c.Encode(message)
		if err != nil || len(pairs) != 2 || pairs[0] != "payload" && pairs[0] != "body" {
			t.Fatalf("encoded as %q, %v", pairs, err)
		}
		got, err := c.Decode(codec.FieldsOf(append([]string{"traceparent", "x", "other", "y"}, pairs...)...))
		if err != nil || !proto.Equal(got, message) {
			t.Errorf("decoded %v, %v", got, err)
		}
		for range 20 { // a map has no order, its bytes have
			if again, err := c.Encode(message); err != nil || again[1] != pairs[1] {
				t.Fatalf("the same message has other bytes: %q, %v", again, err)
			}
		}
		if got, err := c.Decode(codec.FieldsOf(pairs[0], "")); err != nil || got == nil || len(got.GetFields()) != 0 {
			t.Errorf("no bytes are %v, %v", got, err)
		}
	}
}

func TestFieldsOfNewerProducersAreKept(t *testing.T) {
	t.Parallel()
	newer := protowire.AppendTag(nil, 99, protowire.BytesType)
	newer = protowire.AppendString(newer, "from later")
	c := protobuf.Binary[*timestamppb.Timestamp]{}
	got, err := c.Decode(codec.FieldsOf("payload", string(newer)))
	if err != nil {
		t.Fatal(err)
	}
	if pairs, err := c.Encode(got); err != nil || pairs[1] != string(newer) {
		t.Errorf("written again as %q, %v", pairs, err)
	}
}

func TestBinaryRefuses(t *testing.T) {
	t.Parallel()
	wantText := func(err error, want string) {
		t.Helper()
		var fields codec.FieldErrors
		if !errors.As(err, &fields) || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
	c := protobuf.Binary[*structpb.Struct]{}
	pairs, err := c.Encode(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	const refused = `field "payload" (*structpb.Struct) is refused by its Unmarshal`
	whole := 0
	for i := range pairs[1] {
		_, err := c.Decode(codec.FieldsOf("payload", pairs[1][:i]))
		if err == nil { // between two fields of the message
			whole++
			continue
		}
		wantText(err, refused)
	}
	if whole == 0 || whole > 4 {
		t.Errorf("%d of the cuts are messages", whole)
	}
	_, err = c.Decode(codec.FieldsOf("other", "S3CR3T"))
	wantText(err, `field "payload" (*structpb.Struct) is missing`)
	_, err = c.Encode(nil)
	wantText(err, `field "payload" (*structpb.Struct) is refused by its Marshal`)

	text := protobuf.Binary[*wrapperspb.StringValue]{}
	_, err = text.Decode(codec.FieldsOf("payload", "\x0a\x03S3\xff"))
	wantText(err, `field "payload" (*wrapperspb.StringValue) is refused by its Unmarshal`)
	_, err = text.Encode(wrapperspb.String("S3\xff"))
	wantText(err, `field "payload" (*wrapperspb.StringValue) is refused by its Marshal`)

	// A required field of proto2 that is not set.
	option := protobuf.Binary[*descriptorpb.UninterpretedOption_NamePart]{}
	_, err = option.Decode(codec.FieldsOf("payload", ""))
	wantText(err, `field "payload" (*descriptorpb.UninterpretedOption_NamePart) is refused by its Unmarshal`)
	_, err = option.Encode(&descriptorpb.UninterpretedOption_NamePart{})
	wantText(err, `field "payload" (*descriptorpb.UninterpretedOption_NamePart) is refused by its Marshal`)
}

func TestBinaryIsNotTooDeep(t *testing.T) {
	t.Parallel()
	nested := func(levels int) string {
		list := structpb.NewNullValue()
		for range levels {
			list = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{list}}) // two levels
		}
		data, err := proto.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	c := protobuf.Binary[*structpb.Value]{}
	if _, err := c.Decode(codec.FieldsOf("payload", nested(45))); err != nil {
		t.Errorf("90 levels: %v", err)
	}
	if _, err := c.Decode(codec.FieldsOf("payload", nested(55))); err == nil {
		t.Error("110 levels are taken")
	}
}

func TestBinaryChecksItsType(t *testing.T) {
	t.Parallel()
	c := protobuf.Binary[proto.Message]{}
	const want = "protobuf.Binary[protoreflect.ProtoMessage]: it is no pointer to a generated message, so that none can be made; name its type, such as *pb.Order"
	_, decode := c.Decode(codec.FieldsOf("payload", ""))
	_, encode := c.Encode(nil)
	for _, err := range []error{c.Check(), decode, encode} {
		if err == nil || err.Error() != want {
			t.Errorf("the error is %v", err)
		}
	}
}

// FuzzBinary: any bytes are a message that is written and read again, or an error without them.
func FuzzBinary(f *testing.F) {
	for _, text := range []string{"", "\x0a\x00", "\x0a\x07\x0a\x01a\x12\x02\x08\x00", "\x0a\xff\xff\xff\xff\x0f", "\xff", strings.Repeat("\x0a\x02", 60)} {
		f.Add([]byte(text))
	}
	c := protobuf.Binary[*structpb.Struct]{}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := c.Decode(codec.FieldsOf("payload", string(data)))
		if err != nil {
			if len(data) > 40 && bytes.Contains([]byte(err.Error()), data) {
				t.Fatalf("the value is in the error: %v", err)
			}
			return
		}
		pairs, err := c.Encode(first)
		if err != nil {
			t.Fatalf("%q was decoded, but not encoded: %v", data, err)
		}
		second, err := c.Decode(codec.FieldsOf(pairs...))
		if err != nil {
			t.Fatalf("%q was encoded as %q, but not decoded: %v", data, pairs, err)
		}
		again, err := c.Encode(second)
		if err != nil || again[1] != pairs[1] { // not Equal, to which a NaN is another
			t.Fatalf("%q came back as %q, %v", pairs[1], again, err)
		}
	})
}
