package peers_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/codec"
	"millrace/codec/compat"
)

type order struct {
	ID    string `json:"id" validate:"required"`
	Cents int    `json:"cents"`
}

// rows are metadata of each size that msgpack writes in a way of its own.
func rows() []map[string]string {
	all := []map[string]string{nil, {}, {"tenant": "acme", "trace": ""}}
	for _, n := range []int{31, 32, 255, 256, 65535, 65536} {
		all = append(all, map[string]string{strings.Repeat("k", n): strings.Repeat("v", n)})
	}
	for _, n := range []int{15, 16, 300} {
		many := map[string]string{}
		for i := range n {
			many[fmt.Sprint("name", i)] = fmt.Sprint("value", i)
		}
		all = append(all, many)
	}
	return all
}

// TestReadsWhatWatermillWrites has the marshaller of the library write the entries.
func TestReadsWhatWatermillWrites(t *testing.T) {
	t.Parallel()
	for _, metadata := range rows() {
		msg := message.NewMessage("u-1", message.Payload(`{"id":"o-1","cents":7}`))
		maps.Copy(msg.Metadata, metadata)
		values, err := redisstream.DefaultMarshallerUnmarshaller{}.Marshal("orders", msg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := compat.Watermill[order]{}.Decode(codec.FieldsOf(pairsOf(values)...))
		if err != nil || got.UUID != "u-1" || got.Payload != (order{"o-1", 7}) || len(got.Metadata) != len(metadata) || len(metadata) > 0 && !maps.Equal(got.Metadata, metadata) {
			t.Errorf("%d members: decoded %v, %v", len(metadata), got.Payload, err)
		}
		if plain, err := (codec.JSON[order]{}).Decode(codec.FieldsOf(pairsOf(values)...)); err != nil || plain.ID != "o-1" {
			t.Errorf("codec.JSON decoded %v, %v", plain, err)
		}
	}
}

// pairsOf are the values as Redis has them.
func pairsOf(values map[string]any) (pairs []string) {
	for name, value := range values {
		if data, ok := value.([]byte); ok {
			value = string(data)
		}
		pairs = append(pairs, name, fmt.Sprint(value))
	}
	return pairs
}

// TestWatermillReadsWhatIsWritten has the marshaller of the library read the entries.
func TestWatermillReadsWhatIsWritten(t *testing.T) {
	t.Parallel()
	for _, metadata := range rows() {
		pairs, err := compat.Watermill[order]{}.Encode(compat.WatermillMessage[order]{UUID: "u-1", Metadata: metadata, Payload: order{"o-1", 7}})
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]any{}
		for name, value := range codec.FieldsOf(pairs...).All() {
			values[name] = value
		}
		msg, err := redisstream.DefaultMarshallerUnmarshaller{}.Unmarshal(values)
		if err != nil {
			t.Errorf("%d members: %v", len(metadata), err)
			continue
		}
		if msg.UUID != "u-1" || string(msg.Payload) != `{"id":"o-1","cents":7}` || len(msg.Metadata) != len(metadata) || len(metadata) > 0 && !maps.Equal(msg.Metadata, metadata) {
			t.Errorf("%d members: Watermill read %s", len(metadata), msg.Payload)
		}
	}
}
