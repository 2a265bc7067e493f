package codec_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace/codec"
)

type ledgerEvent interface{ isLedgerEvent() }

type placed struct {
	ID     string `mapstructure:"id" validate:"required"`
	Amount int    `mapstructure:"amount"`
}

type refunded struct {
	Order string            `mapstructure:"order"`
	Kind  string            `mapstructure:"kind"`
	Rest  map[string]string `mapstructure:",remain"`
}

type closed struct {
	Day string `json:"day" mapstructure:"day"`
}

type emptied struct {
	Why string `mapstructure:"why,omitempty"`
}

func (placed) isLedgerEvent()   {}
func (refunded) isLedgerEvent() {}
func (closed) isLedgerEvent()   {}
func (emptied) isLedgerEvent()  {}

func asEvent[K ledgerEvent](k K) ledgerEvent { return k }

func ledger() codec.Codec[ledgerEvent] {
	return codec.OneOf("kind",
		codec.Kind("placed", codec.Struct[placed](codec.DisallowUnknownFields()), asEvent),
		codec.Kind("refunded", codec.Struct[refunded](), asEvent),
		codec.Kind("closed", codec.JSON[closed]{}, asEvent),
		codec.Kind("emptied", codec.Struct[emptied](), asEvent))
}

func TestOneOf(t *testing.T) {
	t.Parallel()
	c := ledger()
	if err := check(t, c); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		event ledgerEvent
		pairs []string
	}{
		{placed{"o-1", 7}, []string{"kind", "placed", "id", "o-1", "amount", "7"}},
		{refunded{Order: "o-1", Kind: "refunded"}, []string{"kind", "refunded", "order", "o-1"}},
		{closed{"2024-02-03"}, []string{"kind", "closed", "payload", `{"day":"2024-02-03"}`}},
		{emptied{}, []string{"kind", "emptied"}},
	} {
		pairs, err := c.Encode(row.event)
		if err != nil || !slices.Equal(pairs, row.pairs) {
			t.Errorf("%T is encoded as %q, %v", row.event, pairs, err)
		}
		got := mustDecode(t, c, withHeaders(row.pairs...))
		if r, ok := got.(refunded); ok && r.Rest == nil {
			got = refunded{Order: r.Order, Kind: r.Kind} // comparable
		}
		if r, ok := got.(refunded); ok {
			if w := row.event.(refunded); r.Order != w.Order || r.Kind != w.Kind {
				t.Errorf("decoded %+v", got)
			}
		} else if got != row.event {
			t.Errorf("decoded %+v, want %+v", got, row.event)
		}
	}
	// The place where an event is decoded is used again.
	got, err := c.Decode(codec.FieldsOf("kind", "placed", "id", "o-2"))
	if err != nil || got != (placed{ID: "o-2"}) {
		t.Errorf("decoded %+v, %v", got, err)
	}
	// A string of the event that is empty gets the name.
	if pairs, err := c.Encode(refunded{Order: "x"}); err != nil || !slices.Equal(pairs, []string{"kind", "refunded", "order", "x"}) {
		t.Errorf("encoded as %q, %v", pairs, err)
	}
}

func TestOneOfRefuses(t *testing.T) {
	t.Parallel()
	c := ledger()
	for _, row := range []struct {
		fields []string
		want   string
	}{
		{[]string{"id", "S3CR3T"}, `field "kind" (codec_test.ledgerEvent) is missing`},
		{[]string{"kind", "", "id", "S3CR3T"}, `field "kind" (codec_test.ledgerEvent) is blank`},
		{[]string{"kind", " \t", "id", "S3CR3T"}, `field "kind" (codec_test.ledgerEvent) is blank`},
		{[]string{"kind", "placed", "id", "S3CR3T", "kind", "placed"}, `field "kind" (codec_test.ledgerEvent) is there twice`},
		{[]string{"kind", "refunded", "id", "S3CR3T", "kind", ""}, `field "kind" (codec_test.ledgerEvent) is there twice`},
		{[]string{"kind", "S3CR3T"}, `field "kind" (codec_test.ledgerEvent) is none of the kinds that are known here: placed, refunded, closed, emptied`},
		{[]string{"kind", "Placed"}, `field "kind" (codec_test.ledgerEvent) is none of the kinds that are known here: placed, refunded, closed, emptied`},
		{[]string{"kind", "placed", "amount", "S3CR3T"}, `field "id" (string) fails "required"; field "amount" (int) is not a decimal integer`},
		{[]string{"kind", "placed", "id", "1", "more", "S3CR3T"}, `field "more" is not declared by codec_test.placed`},
	} {
		got, err := c.Decode(codec.FieldsOf(row.fields...))
		if got != nil {
			t.Errorf("%q: the value beside the error is %v", row.fields, got)
		}
		_ = fieldErrors(t, err)
		if err.Error() != row.want {
			t.Errorf("%q: %v", row.fields, err)
		}
		unknown := strings.Contains(row.want, "none of the kinds")
		if errors.Is(err, codec.ErrUnknownKind) != unknown {
			t.Errorf("%q: ErrUnknownKind is told: %v", row.fields, !unknown)
		}
	}
	for _, row := range []struct {
		event ledgerEvent
		want  string
	}{
		{nil, `field "kind" (codec_test.ledgerEvent) cannot be written: the event is nil`},
		{&placed{ID: "S3CR3T"}, `field "kind" (codec_test.ledgerEvent) cannot be written: the event is a *codec_test.placed, and the kind is of codec_test.placed; give the value, not a pointer to it`},
		{another{"S3CR3T"}, `field "kind" (codec_test.ledgerEvent) cannot be written: the event is a codec_test.another, which is not listed`},
		{refunded{Kind: "S3CR3T"}, `field "kind" (string) has another value than the codec around this one gives it; leave it empty, or out of the struct`},
		{refunded{Rest: map[string]string{"S": "x", "traceparent": "S3CR3T"}}, `field "traceparent" has the name of a header, which decoding would not put back into the map Rest; remove it there`},
		{placed{}, `field "id" (string) fails "required"`},
	} {
		_, err := c.Encode(row.event)
		wantLines(t, err, row.want)
		if errors.Is(err, codec.ErrUnknownKind) {
			t.Errorf("%T: an event of the program's own is of an unknown kind", row.event)
		}
	}
}

type another struct{ S string }

func (another) isLedgerEvent() {}

func TestOneOfTakesTheDiscriminatorOut(t *testing.T) {
	t.Parallel()
	type rest struct {
		ID   string            `mapstructure:"id"`
		Rest map[string]string `mapstructure:",remain"`
	}
	c := codec.OneOf("kind", codec.Kind("rest", codec.Struct[rest](), func(r rest) any { return r }))
	got, _ := mustDecode(t, c, codec.FieldsOf("id", "1", "kind", "rest", "more", "x")).(rest)
	if len(got.Rest) != 1 || got.Rest["more"] != "x" {
		t.Errorf("%q remain", got.Rest)
	}
	_, err := c.Encode(rest{ID: "1", Rest: map[string]string{"kind": "x"}})
	wantLines(t, err, `field "kind" has the name of a header, which decoding would not put back into the map Rest; remove it there`)
	if again, err := codec.Struct[rest]().Encode(rest{ID: "1", Rest: map[string]string{"kind": "x"}}); err != nil || len(again) != 4 {
		t.Errorf("the codec that was given has changed: %q, %v", again, err)
	}
}

func TestOneOfChecksItsList(t *testing.T) {
	t.Parallel()
	type event = any
	keep := func(p placed) event { return p }
	type number struct {
		Kind int `mapstructure:"kind"`
	}
	type badTag struct {
		ID string `mapstructure:"id,omitemtpy"`
	}
	for name, row := range map[string]struct {
		c    codec.Codec[event]
		want []string
	}{
		"nothing":        {codec.OneOf[event]("kind"), []string{"OneOf: there is no kind; list at least one"}},
		"no field":       {codec.OneOf(" ", codec.Kind("a", codec.Struct[placed](), keep)), []string{"OneOf: the name of the field is blank; give the field of the entry that tells its events apart"}},
		"a header":       {codec.OneOf("millrace.kind", codec.Kind("a", codec.Struct[placed](), keep)), []string{`OneOf: the field "millrace.kind" is reserved for headers; choose another name`}},
		"a blank kind":   {codec.OneOf("kind", codec.Kind("", codec.Struct[placed](), keep)), []string{"OneOf: the name of the kind of type codec_test.placed is blank; give it the text that the discriminator has"}},
		"a zero kind":    {codec.OneOf("kind", codec.OneOfKind[event]{}), []string{"OneOf: a kind is a zero value; make it with Kind"}},
		"no codec":       {codec.OneOf("kind", codec.Kind("a", nil, keep)), []string{`OneOf: kind "a": the codec is nil; give the codec of its type, such as Struct`}},
		"no function":    {codec.OneOf("kind", codec.Kind[placed, event]("a", codec.Struct[placed](), nil)), []string{`OneOf: kind "a": the function is nil; give one that returns the event as it is`}},
		"another type":   {codec.OneOf("kind", codec.Kind("a", codec.Struct[placed](), func(p placed) event { return &p })), []string{`OneOf: kind "a": the function returns a *codec_test.placed for a codec_test.placed, so that Encode would not find its kind; return the event as it is`}},
		"a number":       {codec.OneOf("kind", codec.Kind("a", codec.Struct[number](), func(n number) event { return n })), []string{`OneOf: kind "a": codec_test.number.Kind: the field "kind" tells events apart, as a text; make it a string, or remove it`}},
		"JSON's field":   {codec.OneOf("kind", codec.Kind("a", codec.JSON[placed]{Field: "kind"}, keep)), []string{`OneOf: kind "a": JSON[codec_test.placed]: the field "kind" tells events apart; give JSON.Field another name`}},
		"its own faults": {codec.OneOf("kind", codec.Kind("a", codec.Struct[badTag](), func(b badTag) event { return b })), []string{`OneOf: kind "a": codec_test.badTag.ID: unknown tag option "omitemtpy"; the options are squash, remain, omitempty, unix, unixmilli and trim`}},
		"all at once": {codec.OneOf("", codec.Kind("a", codec.Struct[placed](), keep), codec.Kind("a", codec.Struct[closed](), func(c closed) event { return c }), codec.Kind("b", codec.Struct[placed](), keep)), []string{
			"OneOf: the name of the field is blank; give the field of the entry that tells its events apart",
			`OneOf: the kind "a" is listed twice; remove one`,
			`OneOf: the type codec_test.placed is listed as "a" and as "b", and could be written as one of them only; declare a type of its own for each`,
		}},
	} {
		err := check(t, row.c)
		if err == nil || err.Error() != strings.Join(row.want, "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "JSON's field" { // "placed" has no json tags either
			continue
		}
		_, encode := row.c.Encode(placed{ID: "1"})
		if _, decode := row.c.Decode(codec.FieldsOf("kind", "a", "id", "1")); decode == nil || encode == nil {
			t.Errorf("%s: it works all the same: %v, %v", name, decode, encode)
		}
	}
	concrete := codec.OneOf("kind", codec.Kind("a", codec.Struct[placed](), func(p placed) placed { return p }))
	wantLines(t, check(t, concrete), "OneOf: codec_test.placed is no interface; use one that the types of all kinds have")
	shy := codec.OneOf("kind", codec.Kind("a", codec.Struct[placed](), func(p placed) event {
		if p.ID == "" {
			panic("no ID")
		}
		return p
	}))
	if err := check(t, shy); err != nil {
		t.Errorf("a function that does not like a zero: %v", err)
	}
}

// textCodec is a codec of somebody else's.
type textCodec struct{ names []string }

func (c textCodec) Decode(fields codec.Fields) (json.Number, error) {
	text, _ := fields.Get("text")
	return json.Number(text), nil
}

func (c textCodec) Encode(n json.Number) ([]string, error) {
	var pairs []string
	for _, name := range c.names {
		pairs = append(pairs, name, n.String())
	}
	return pairs, nil
}

func TestOneOfWithACodecOfOnesOwn(t *testing.T) {
	t.Parallel()
	of := func(names ...string) codec.Codec[any] {
		return codec.OneOf("kind", codec.Kind("n", textCodec{names}, func(n json.Number) any { return n }))
	}
	pairs, err := of("text").Encode(json.Number("7"))
	if err != nil || !slices.Equal(pairs, []string{"kind", "n", "text", "7"}) {
		t.Errorf("encoded as %q, %v", pairs, err)
	}
	if got := mustDecode(t, of("text"), codec.FieldsOf(pairs...)); got != json.Number("7") {
		t.Errorf("decoded %v", got)
	}
	_, err = of("text", "kind").Encode(json.Number("7"))
	wantLines(t, err, `field "kind" (json.Number) is written by the inner codec too; give one of the two another name`)
}

func TestOneOfAtTheSameTime(t *testing.T) {
	t.Parallel()
	c := ledger()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				want := ledgerEvent(placed{ID: strings.Repeat("x", i+1)})
				if i%2 == 0 {
					want = closed{strings.Repeat("y", i)}
				}
				pairs, err := c.Encode(want)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := c.Decode(codec.FieldsOf(pairs...)); err != nil || got != want {
					t.Errorf("decoded %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}
