package compat_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"millrace/codec"
	"millrace/codec/compat"
)

type order struct {
	ID    string `json:"id" validate:"required"`
	Cents int    `json:"cents"`
}

// wantError compares the error about an entry, and sees that it has no value.
func wantError[T any](t *testing.T, c codec.Codec[T], want string, pairs ...string) {
	t.Helper()
	value, err := c.Decode(codec.FieldsOf(pairs...))
	var fields codec.FieldErrors
	if !errors.As(err, &fields) || err.Error() != want || strings.Contains(err.Error(), "S3CR3T") {
		t.Errorf("%q: the error is\n%v\nwant\n%s", pairs, err, want)
	}
	if !reflect.ValueOf(value).IsZero() {
		t.Errorf("%q: the value beside the error is %+v", pairs, value)
	}
}

func check[T any](t *testing.T, c codec.Codec[T]) {
	t.Helper()
	if err := c.(codec.Checker).Check(); err != nil {
		t.Fatalf("Check of %T: %v", c, err)
	}
}

const uuid = "_watermill_message_uuid"

func TestWatermill(t *testing.T) {
	t.Parallel()
	c := compat.Watermill[order]{}
	check(t, codec.Codec[compat.WatermillMessage[order]](c))
	// The bytes of metadata are msgpack's, of one member and of none.
	pairs, err := c.Encode(compat.WatermillMessage[order]{UUID: "u-1", Metadata: map[string]string{"tenant": "acme"}, Payload: order{"o-1", 7}})
	want := []string{uuid, "u-1", "metadata", "\x81\xa6tenant\xa4acme", "payload", `{"id":"o-1","cents":7}`}
	if err != nil || !slices.Equal(pairs, want) {
		t.Errorf("encoded as %q, %v", pairs, err)
	}
	for _, metadata := range []string{"", "\xc0", "\x80", "\xde\x00\x00", "\xdf\x00\x00\x00\x00"} {
		got, err := c.Decode(codec.FieldsOf(uuid, "u-1", "metadata", metadata, "payload", `{"id":"o-1"}`, "more", "x"))
		if err != nil || got.UUID != "u-1" || len(got.Metadata) != 0 || got.Payload.ID != "o-1" {
			t.Errorf("%q: decoded %+v, %v", metadata, got, err)
		}
	}
	if got, err := c.Decode(codec.FieldsOf(uuid, "u-1", "payload", `{"id":"o-1"}`)); err != nil || got.Metadata != nil {
		t.Errorf("decoded %+v, %v", got, err)
	}
	long := map[string]string{}
	for _, n := range []int{0, 31, 32, 255, 256, 65535, 65536} {
		long[strings.Repeat("k", n)] = strings.Repeat("v", n)
	}
	for i := range 20 {
		long[strings.Repeat("x", i+1)] = "y"
	}
	first, err := c.Encode(compat.WatermillMessage[order]{Metadata: long, Payload: order{ID: "o-1"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Decode(codec.FieldsOf(first...))
	if err != nil || !maps.Equal(got.Metadata, long) || len(got.UUID) != 36 {
		t.Errorf("decoded %d of %d, UUID %q, %v", len(got.Metadata), len(long), got.UUID, err)
	}
	for _, kind := range []string{"\xd9\x01a", "\xda\x00\x01a", "\xdb\x00\x00\x00\x01a"} {
		if got, err := c.Decode(codec.FieldsOf(uuid, "u", "metadata", "\x81"+kind+kind, "payload", `{"id":"o-1"}`)); err != nil || got.Metadata["a"] != "a" {
			t.Errorf("%q: decoded %+v, %v", kind, got, err)
		}
	}
}

func TestWatermillRefuses(t *testing.T) {
	t.Parallel()
	c := codec.Codec[compat.WatermillMessage[order]](compat.Watermill[order]{})
	const good = `{"id":"S3CR3T"}`
	wantError(t, c, `field "_watermill_message_uuid" (compat_test.order) is missing`, "payload", good)
	wantError(t, c, `field "_watermill_message_uuid" (compat_test.order) is there twice`, uuid, "1", uuid, "1", "payload", good)
	wantError(t, c, `field "payload" (compat_test.order) is missing`, uuid, "S3CR3T")
	wantError(t, c, `field "payload.id" (string) fails "required"`, uuid, "S3CR3T", "payload", "{}")
	for metadata, want := range map[string]string{
		"S3CR3T": "holds msgpack that is no map", "\x93\xa1a\xa1b\xa1c": "holds msgpack that is no map", "{}": "holds msgpack that is no map",
		"\x81\xa1a\x01": "holds msgpack with a part that is no text", "\x81\xa1a\x01\x00\x00": "holds msgpack with a part that is no text", "\x81\x01\xa1a\x00": "holds msgpack with a part that is no text",
		"\x81\xa1a\xc4\x01b": "holds msgpack with a part that is no text", "\x81\xa1a\x81\xa1b\xa1c": "holds msgpack with a part that is no text",
		"\x81\xa1a": "holds msgpack that is cut short", "\x81\xa1a\xa9S3CR3T": "holds msgpack that is cut short", "\xdf\xff\xff\xff\xff\xa1a": "holds msgpack that is cut short",
		"\x81\xa1a\xdb\xff\xff\xff\xff": "holds msgpack that is cut short", "\xde\x00": "holds msgpack that is cut short",
		"\x81\xa1\xff\xa1b": "holds msgpack with a text that is not UTF-8", "\x82\xa1a\xa1b\xa1a\xa1c": "holds msgpack with a name twice in one map",
		"\x81\xa1a\xa1bS3CR3T": "holds msgpack with more behind its map",
	} {
		wantError(t, c, `field "metadata" (compat_test.order) `+want, uuid, "u", "metadata", metadata, "payload", good)
	}
	_, err := c.Encode(compat.WatermillMessage[order]{Metadata: map[string]string{"a": "S3CR3T\xff"}, Payload: order{ID: "1"}})
	if err == nil || err.Error() != `field "metadata" (compat_test.order) holds msgpack with a text that is not UTF-8` {
		t.Errorf("the error is %v", err)
	}
	elsewhere := compat.Watermill[order]{Payload: codec.JSON[order]{Field: "body"}}
	if _, err := elsewhere.Encode(compat.WatermillMessage[order]{Payload: order{ID: "1"}}); err == nil || !strings.Contains(err.Error(), "give it a codec of one field with that name") {
		t.Errorf("the error is %v", err)
	}
}

// As Dapr writes it.
const daprEvent = `{"data":{"id":"o-1","cents":7},"datacontenttype":"application/json","id":"e-1","pubsubname":"pubsub","source":"checkout","specversion":"1.0","time":"2024-02-03T04:05:06Z","topic":"orders","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"","type":"com.dapr.event.sent"}`

func TestCloudEventStructured(t *testing.T) {
	t.Parallel()
	c := codec.Codec[compat.CloudEvent[order]](codec.JSON[compat.CloudEvent[order]]{Field: "data"})
	check(t, c)
	got, err := c.Decode(codec.FieldsOf("data", daprEvent, "metadata", "{}"))
	if err != nil || got.Data.ID != "o-1" || got.Source != "checkout" || got.Topic != "orders" || got.Time.Year() != 2024 {
		t.Errorf("decoded %+v, %v", got, err)
	}
	pairs, err := c.Encode(compat.NewCloudEvent("checkout", "order", order{ID: "o-2"}))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Decode(codec.FieldsOf(pairs...)); err != nil || again.Data.ID != "o-2" || len(again.ID) != 36 {
		t.Errorf("decoded %+v, %v", again, err)
	}
	wantError(t, c, `field "data.id" (string) fails "required"; field "data.source" (string) fails "required"; field "data.specversion" (string) fails "eq=1.0"; field "data.type" (string) fails "required"`,
		"data", `{"data":{"id":"S3CR3T"}}`)
	wantError(t, c, `field "data.data.id" (string) fails "required"`, "data", `{"id":"1","source":"s","specversion":"1.0","type":"t","data":{}}`)
}

func TestCloudEventBinary(t *testing.T) {
	t.Parallel()
	c := codec.Codec[compat.BinaryEvent[order]](compat.CloudEventBinary[order]{})
	check(t, c)
	want := compat.BinaryEvent[order]{ID: "e-1", Source: "/s", Type: "t", Attributes: map[string]string{"subject": "x", "a1": "y"}, ContentType: "application/json", Data: order{ID: "o-1"}}
	pairs, err := c.Encode(want)
	if err != nil || !slices.Equal(pairs, []string{"ce_id", "e-1", "ce_source", "/s", "ce_type", "t", "ce_specversion", "1.0", "ce_a1", "y", "ce_subject", "x", "content-type", "application/json", "data", `{"id":"o-1","cents":0}`}) {
		t.Fatalf("encoded as %q, %v", pairs, err)
	}
	if got, err := c.Decode(codec.FieldsOf(pairs...)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, %v", got, err)
	}
	wantError(t, c, `field "ce_id" (compat_test.order) is missing; field "ce_source" (string) is blank; field "ce_type" (compat_test.order) is there twice; field "ce_specversion" (string) is another version of CloudEvents than 1.0; field "data" (compat_test.order) is missing`,
		"ce_source", "", "ce_type", "S3CR3T", "ce_type", "t", "ce_specversion", "0.3")
	wantError(t, c, `field "data.id" (string) fails "required"`, append(slices.Clone(pairs[:len(pairs)-1]), "{}")...)
	for _, event := range []compat.BinaryEvent[order]{
		{Source: "/s", Type: "t", Data: want.Data}, {ID: "1", Source: "/s", Type: "t", Data: order{}}, {ID: "1", Source: "/s", Type: "t", Data: want.Data, Attributes: map[string]string{"id": "S3CR3T"}},
		{ID: "1", Source: "/s", Type: "t", Data: want.Data, Attributes: map[string]string{"S3CR3T": ""}},
	} {
		if _, err := c.Encode(event); err == nil || strings.Contains(err.Error(), "S3CR3T") {
			t.Errorf("%+v: %v", event, err)
		}
	}
}

func TestDebezium(t *testing.T) {
	t.Parallel()
	c := codec.Codec[compat.Change[order]](codec.JSON[compat.Change[order]]{Field: "value"})
	check(t, c)
	const plain = `{"before":null,"after":{"id":"o-1","cents":7},"source":{"db":"shop"},"op":"c","ts_ms":1700000000000}`
	for _, text := range []string{plain, `{"schema":{"type":"struct"},"payload":` + plain + `}`} {
		got, err := c.Decode(codec.FieldsOf("key", `{"id":"o-1"}`, "value", text))
		if err != nil || got.After == nil || got.After.ID != "o-1" || got.Before != nil || got.Op != "c" || got.Millis != 1700000000000 || string(got.Source) != `{"db":"shop"}` {
			t.Errorf("decoded %+v, %v", got, err)
		}
		pairs, err := c.Encode(got)
		if err != nil || pairs[0] != "value" {
			t.Fatalf("encoded as %q, %v", pairs, err)
		}
		if again, err := c.Decode(codec.FieldsOf(pairs...)); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("decoded %+v, %v", again, err)
		}
	}
	const refused = `field "value" (compat.Change[millrace/codec/compat_test.order]) holds JSON with a part that its Go type refuses`
	for _, text := range []string{`{}`, `{"op":"S3CR3T"}`, `{"op":"c","after":null}`, `{"schema":{}}`, `{"schema":{},"payload":null}`, `{"op":"c","after":"S3CR3T"}`, `[]`} {
		wantError(t, c, refused, "value", text)
	}
	if _, err := c.Encode(compat.Change[order]{}); err == nil {
		t.Error("a change without an operation is written")
	}
}

func TestDebeziumCompact(t *testing.T) {
	t.Parallel()
	c := codec.Codec[compat.Row[order]](compat.DebeziumCompact[order]{})
	check(t, c)
	for _, row := range []struct {
		row   compat.Row[order]
		pairs []string
	}{
		{compat.Row[order]{Key: `{"id":1}`, Value: order{"o-1", 7}}, []string{`{"id":1}`, `{"id":"o-1","cents":7}`}},
		{compat.Row[order]{Key: `{"id":1}`, Deleted: true}, []string{`{"id":1}`, "default"}},
	} {
		pairs, err := c.Encode(row.row)
		if err != nil || !slices.Equal(pairs, row.pairs) {
			t.Errorf("encoded as %q, %v", pairs, err)
		}
		if got, err := c.Decode(codec.FieldsOf(append(row.pairs, "traceparent", "x", "millrace.id", "y")...)); err != nil || got != row.row {
			t.Errorf("decoded %+v, %v", got, err)
		}
	}
	own := compat.DebeziumCompact[order]{Tombstone: "-"}
	if got, err := own.Decode(codec.FieldsOf("S3CR3T", "-")); err != nil || !got.Deleted {
		t.Errorf("decoded %+v, %v", got, err)
	}
	wantError(t, c, `field "(value)" (compat_test.order) is missing`, "traceparent", "x")
	wantError(t, c, `field "(value)" (compat_test.order) is not the only field; the extended form has two, for which codec.JSON serves`, "S3CR3T", "1", "value", "2")
	wantError(t, c, `field "(value).id" (string) fails "required"`, "S3CR3T", "{}")
	if _, err := c.Encode(compat.Row[order]{Key: "baggage", Value: order{ID: "1"}}); err == nil {
		t.Error("a key that would be a header is written")
	}
	clash := compat.DebeziumCompact[string]{Tombstone: `"x"`}
	if _, err := clash.Encode(compat.Row[string]{Key: "k", Value: "x"}); err == nil {
		t.Error("a value that would be a tombstone is written")
	}
}

func TestFastStream(t *testing.T) {
	t.Parallel()
	raw := codec.Codec[compat.FastStreamMessage[[]byte]](compat.FastStream[[]byte]{Data: codec.Raw{}})
	// The example of its documentation: no headers, and the data hello.
	const hello = "\x89BIN\x0d\x0a\x1a\x0a\x00\x01\x00\x00\x00\x12\x00\x00\x00\x14\x00\x00hello"
	got, err := raw.Decode(codec.FieldsOf("__data__", hello))
	if err != nil || string(got.Data) != "hello" || got.Headers != nil {
		t.Errorf("decoded %+v, %v", got, err)
	}
	if pairs, err := raw.Encode(got); err != nil || !slices.Equal(pairs, []string{"__data__", hello}) {
		t.Errorf("encoded as %q, %v", pairs, err)
	}
	c := codec.Codec[compat.FastStreamMessage[order]](compat.FastStream[order]{})
	check(t, c)
	headers := map[string]string{"correlation_id": "c-1", "content-type": "application/json", "": ""}
	pairs, err := c.Encode(compat.FastStreamMessage[order]{Headers: headers, Data: order{ID: "o-1"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Decode(codec.FieldsOf(pairs...)); err != nil || got.Data.ID != "o-1" || !maps.Equal(got.Headers, headers) {
		t.Errorf("decoded %+v, %v", got, err)
	}
	const field = `field "__data__" (compat_test.order) `
	wantError(t, c, field+"is missing", "data", "S3CR3T")
	wantError(t, c, field+"has not the binary form of FastStream", "__data__", `{"data":"S3CR3T"}`)
	wantError(t, c, `field "__data__.id" (string) fails "required"`, "__data__", hello[:len(hello)-5]+"{}")
	magic := hello[:8]
	for text, want := range map[string]string{
		magic: "has headers of FastStream's binary form that are cut short", magic + "\x00\x02": "has a version of FastStream's binary form that is not known",
		magic + "\x00\x01\x00\x00\x00\x12\x00":                                                       "has headers of FastStream's binary form that are cut short",
		magic + "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x14\x00\x00":                                   "has offsets of FastStream's binary form that lead out of it",
		magic + "\x00\x01\x00\x00\x00\x12\xff\xff\xff\xff\x00\x00":                                   "has offsets of FastStream's binary form that lead out of it",
		magic + "\x00\x01\x00\x00\x00\x12\x00\x00\x00\x11\x00\x00":                                   "has offsets of FastStream's binary form that lead out of it",
		magic + "\x00\x01\x00\x00\x00\x12\x00\x00\x00\x14\xff\xff":                                   "has headers of FastStream's binary form that are cut short",
		magic + "\x00\x01\x00\x00\x00\x12\x00\x00\x00\x1a\x00\x01\x00\x01\xff\x00\x01b":              "has a header that is not UTF-8",
		magic + "\x00\x01\x00\x00\x00\x12\x00\x00\x00\x1e\x00\x02\x00\x01a\x00\x00\x00\x01a\x00\x00": "has a header twice",
		magic + "\x00\x01\x00\x00\x00\x12\x00\x00\x00\x19\x00\x01\x00\x01a\x00\x09":                  "has headers of FastStream's binary form that are cut short",
	} {
		wantError(t, c, field+want, "__data__", text)
	}
	for _, bad := range []map[string]string{{"a": "S3CR3T\xff"}, {strings.Repeat("x", 1<<16): ""}} {
		if _, err := c.Encode(compat.FastStreamMessage[order]{Headers: bad, Data: order{ID: "1"}}); err == nil || strings.Contains(err.Error(), "S3CR3T") {
			t.Errorf("the error is %v", err)
		}
	}
}
