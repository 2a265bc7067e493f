package codec_test

import (
	"maps"
	"testing"

	"millrace/codec"
)

func TestWhichNamesAreHeaders(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"traceparent": true, "tracestate": true, "baggage": true, "millrace.": true, "millrace.id": true, "millrace.x.y": true,
		"": false, "Traceparent": false, "traceparent2": false, "trace": false, "millrace": false, "Millrace.id": false, "x.millrace.id": false, " baggage": false,
	} {
		if got := codec.IsHeader(name); got != want {
			t.Errorf("%q is a header: %v", name, got)
		}
	}
}

// headers are those of an entry that was traced, and is a dead letter.
var headers = []string{
	"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate", "a=b", "baggage", "user=x",
	"millrace.stream", "orders", "millrace.anything", "",
}

func withHeaders(pairs ...string) codec.Fields { return codec.FieldsOf(append(pairs, headers...)...) }

func TestStrictCodecsSkipHeaders(t *testing.T) {
	t.Parallel()
	type plain struct {
		ID string `mapstructure:"id"`
	}
	type squashed struct {
		plain `mapstructure:",squash"`
	}
	strict := codec.DisallowUnknownFields()
	if got := mustDecode(t, codec.Struct[plain](strict), withHeaders("id", "1")); got.ID != "1" {
		t.Errorf("decoded %+v", got)
	}
	if got := mustDecode(t, codec.Struct[squashed](strict), withHeaders("id", "1")); got.ID != "1" {
		t.Errorf("decoded %+v", got)
	}
	for _, name := range []string{"tenant", "trace_id", "millrace"} {
		_, err := codec.Struct[plain](strict).Decode(withHeaders("id", "1", name, "x"))
		wantLines(t, err, `field "`+name+`" is not declared by codec_test.plain`)
		_, err = codec.Struct[squashed](strict).Decode(withHeaders("id", "1", name, "x"))
		wantLines(t, err, `field "`+name+`" is not declared by codec_test.squashed`)
	}
}

func TestHeadersDoNotRemain(t *testing.T) {
	t.Parallel()
	type event struct {
		ID   string            `mapstructure:"id"`
		Rest map[string]string `mapstructure:",remain"`
	}
	c := codec.Struct[event]()
	got := mustDecode(t, c, withHeaders("id", "1", "tenant", "x"))
	if !maps.Equal(got.Rest, map[string]string{"tenant": "x"}) {
		t.Errorf("%q remain", got.Rest)
	}
	if got := mustDecode(t, c, withHeaders("id", "1")); got.Rest != nil {
		t.Errorf("%q remain", got.Rest)
	}
	// They would not come back.
	_, err := c.Encode(event{ID: "1", Rest: map[string]string{"traceparent": "SECRET"}})
	wantLines(t, err, `field "traceparent" has the name of a header, which decoding would not put back into the map Rest; remove it there`)
}

func TestHeadersDoNotBelongToTheType(t *testing.T) {
	t.Parallel()
	type plain struct {
		ID string `mapstructure:"id"`
	}
	type rest struct {
		ID   string            `mapstructure:"id"`
		Rest map[string]string `mapstructure:",remain"`
	}
	const reason = "; check that this is the stream of that type and that the names in its tags match exactly"
	for _, opts := range [][]codec.StructOption{nil, {codec.DisallowUnknownFields()}} {
		_, err := codec.Struct[plain](opts...).Decode(withHeaders())
		wantLines(t, err, "none of the entry's fields belongs to codec_test.plain"+reason)
		_, err = codec.Struct[rest](opts...).Decode(withHeaders())
		wantLines(t, err, "none of the entry's fields belongs to codec_test.rest"+reason)
	}
	if got := mustDecode(t, codec.Struct[rest](), withHeaders("tenant", "x")); got.Rest["tenant"] != "x" {
		t.Errorf("decoded %+v", got)
	}
}

// A header that the type declares is a field like any other.
func TestDeclaredHeaders(t *testing.T) {
	t.Parallel()
	type plain struct {
		Trace string `mapstructure:"traceparent" validate:"len=55"`
	}
	type rest struct {
		Stream string            `mapstructure:"millrace.stream"`
		Rest   map[string]string `mapstructure:",remain"`
	}
	strict := codec.DisallowUnknownFields()
	if got := mustDecode(t, codec.Struct[plain](strict), withHeaders()); got.Trace != headers[1] {
		t.Errorf("decoded %+v", got)
	}
	if got := mustDecode(t, codec.Struct[rest](strict), withHeaders()); got.Stream != "orders" || got.Rest != nil {
		t.Errorf("decoded %+v", got)
	}
	pairs, err := codec.Struct[plain]().Encode(plain{Trace: headers[1]})
	if err != nil || pairs[0] != "traceparent" {
		t.Errorf("encoded as %q, %v", pairs, err)
	}
}

func TestJSONIgnoresHeaders(t *testing.T) {
	t.Parallel()
	for _, c := range []codec.JSON[int]{{}, {Field: "baggage"}} {
		name := c.Field
		if name == "" {
			name = "payload"
		}
		if got := mustDecode(t, c, codec.FieldsOf(append(headers[:4:4], name, "7", "millrace.id", "1-0")...)); got != 7 {
			t.Errorf("decoded %d", got)
		}
	}
	_, err := codec.JSON[int]{}.Decode(withHeaders())
	wantLines(t, err, `field "payload" (int) is missing`)
}
