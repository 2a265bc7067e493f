package codec_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-playground/validator/v10"

	"millrace/codec"
)

type orderV1 struct {
	Number string `mapstructure:"number" validate:"required"`
}

type orderV2 struct {
	ID    string `mapstructure:"id" validate:"required"`
	Cents int    `mapstructure:"cents"`
}

type order3 struct {
	ID       string `mapstructure:"id" validate:"required,max=8"`
	Cents    int    `mapstructure:"cents"`
	Currency string `mapstructure:"currency" validate:"oneof=EUR CHF"`
}

var errTooOld = errors.New("S3CR3T is too old")

func orders() codec.Codec[order3] {
	strict := codec.DisallowUnknownFields()
	return codec.Versions("v", "3", codec.Struct[order3](strict),
		codec.Upcast("", codec.Struct[orderV1](strict), func(o orderV1) (order3, error) {
			switch o.Number {
			case "ancient":
				return order3{}, errTooOld
			case "panic":
				panic("S3CR3T")
			}
			return order3{ID: o.Number, Currency: "EUR"}, nil
		}),
		codec.Upcast("2", codec.Struct[orderV2](strict), func(o orderV2) (order3, error) {
			return order3{o.ID, o.Cents, "EUR"}, nil
		}))
}

func TestVersions(t *testing.T) {
	t.Parallel()
	c := orders()
	if err := check(t, c); err != nil {
		t.Fatal(err)
	}
	for want, fields := range map[order3][]string{
		{"a", 0, "EUR"}: {"number", "a"},
		{"b", 5, "EUR"}: {"v", "2", "id", "b", "cents", "5"},
		{"c", 6, "CHF"}: {"id", "c", "cents", "6", "currency", "CHF", "v", "3"},
	} {
		if got := mustDecode(t, c, withHeaders(fields...)); got != want {
			t.Errorf("%q: decoded %+v", fields, got)
		}
	}
	pairs, err := c.Encode(order3{"c", 6, "CHF"})
	if err != nil || !slices.Equal(pairs, []string{"v", "3", "id", "c", "cents", "6", "currency", "CHF"}) {
		t.Errorf("encoded as %q, %v", pairs, err)
	}
}

func TestVersionsRefuses(t *testing.T) {
	t.Parallel()
	c := orders()
	const unknown = `field "v" (codec_test.order3) is none of the versions that are known here: 3, 2`
	for _, row := range []struct {
		fields []string
		want   string
		cause  error
	}{
		{[]string{"v", "", "number", "S3CR3T"}, `field "v" (codec_test.order3) is blank`, nil},
		{[]string{"v", "3", "id", "S3CR3T", "v", "2"}, `field "v" (codec_test.order3) is there twice`, nil},
		{[]string{"v", "4", "id", "S3CR3T"}, unknown, codec.ErrUnknownVersion},
		{[]string{"v", "S3CR3T", "id", "x"}, unknown, codec.ErrUnknownVersion},
		{[]string{"v", "03", "id", "x"}, unknown, codec.ErrUnknownVersion},
		{[]string{"number", "ancient"}, `field "v" (codec_test.order3) is of an old version whose function in Upcast refuses the event`, errTooOld},
		{[]string{"number", "panic"}, `field "v" (codec_test.order3) is of an old version whose function in Upcast panics`, nil},
		{[]string{"number", "S3CR3T-S3CR3T"}, `field "id" (string) fails "max=8"`, nil}, // the event that the function made
		{[]string{"v", "2", "id", "S3CR3T", "cents", "S3CR3T"}, `field "cents" (int) is not a decimal integer`, nil},
		{[]string{"v", "2", "number", "S3CR3T"}, `field "id" (string) fails "required"; field "number" is not declared by codec_test.orderV2`, nil},
		{[]string{"v", "3", "id", "x", "currency", "S3CR3T"}, `field "currency" (string) fails "oneof=EUR CHF"`, nil},
	} {
		got, err := c.Decode(codec.FieldsOf(row.fields...))
		if got != (order3{}) {
			t.Errorf("%q: the value beside the error is %+v", row.fields, got)
		}
		_ = fieldErrors(t, err)
		if err.Error() != row.want {
			t.Errorf("%q: %v", row.fields, err)
		}
		if row.cause != nil && !errors.Is(err, row.cause) || row.cause == nil && errors.Is(err, codec.ErrUnknownVersion) {
			t.Errorf("%q: the cause of %v is not %v", row.fields, err, row.cause)
		}
	}
	must := codec.Versions("v", "3", codec.Struct[order3]())
	_, err := must.Decode(codec.FieldsOf("id", "x"))
	wantLines(t, err, `field "v" (codec_test.order3) is missing`)
	_, err = c.Encode(order3{ID: "x", Currency: "S3CR3T"})
	wantLines(t, err, `field "currency" (string) fails "oneof=EUR CHF"`)
}

// The tags of the codec's own count for an event that a function made, and so do those of JSON.
func TestUpcastIsValidated(t *testing.T) {
	t.Parallel()
	type current struct {
		ID string `mapstructure:"id" json:"id" validate:"even"`
	}
	even := codec.WithValidation("even", func(f validator.FieldLevel) bool { return f.Field().Len()%2 == 0 })
	up := func(o orderV1) (current, error) { return current{o.Number}, nil }
	c := codec.Versions("v", "2", codec.Struct[current](even), codec.Upcast("", codec.Struct[orderV1](), up))
	if got := mustDecode(t, c, codec.FieldsOf("number", "12")); got.ID != "12" {
		t.Errorf("decoded %+v", got)
	}
	_, err := c.Decode(codec.FieldsOf("number", "123"))
	wantLines(t, err, `field "id" (string) fails "even"`)

	type document struct {
		ID string `json:"id" validate:"len=2"`
	}
	j := codec.Versions("v", "2", codec.JSON[document]{},
		codec.Upcast("", codec.Struct[orderV1](), func(o orderV1) (document, error) { return document{o.Number}, nil }))
	_, err = j.Decode(codec.FieldsOf("number", "123"))
	wantLines(t, err, `field "payload.id" (string) fails "len=2"`)

	foreign := codec.Versions("v", "2", codec.Codec[document](bareCodec[document]{}),
		codec.Upcast("", codec.Struct[orderV1](), func(o orderV1) (document, error) { return document{o.Number}, nil }))
	_, err = foreign.Decode(codec.FieldsOf("number", "123"))
	wantLines(t, err, `field "ID" (string) fails "len=2"`)
}

// bareCodec is a codec of somebody else's, which can do nothing but the least.
type bareCodec[T any] struct{}

func (bareCodec[T]) Decode(codec.Fields) (value T, err error) { return value, nil }
func (bareCodec[T]) Encode(T) ([]string, error)               { return []string{"a", "b"}, nil }

func TestVersionsChecksItsList(t *testing.T) {
	t.Parallel()
	c3 := codec.Struct[order3]()
	up := codec.Upcast("2", codec.Struct[orderV2](), func(o orderV2) (order3, error) { return order3{}, nil })
	type badTag struct {
		ID string `mapstructure:"id,omitemtpy"`
	}
	const of = "Versions of codec_test.order3: "
	for name, row := range map[string]struct {
		c    codec.Codec[order3]
		want []string
	}{
		"no field":    {codec.Versions("", "3", c3), []string{"Versions: the name of the field is blank; give the field of the entry that tells its events apart"}},
		"a header":    {codec.Versions("baggage", "3", c3), []string{`Versions: the field "baggage" is reserved for headers; choose another name`}},
		"no name":     {codec.Versions("v", " ", c3), []string{of + "the current version is blank, and could not be written; give it a name"}},
		"no codec":    {codec.Versions[order3]("v", "3", nil), []string{of + "the codec of the current version is nil; give one, such as Struct"}},
		"twice":       {codec.Versions("v", "3", c3, up, up), []string{of + `the version "2" is listed twice; remove one`}},
		"current too": {codec.Versions("v", "2", c3, up), []string{of + `the version "2" is listed twice; remove one`}},
		"a zero":      {codec.Versions("v", "3", c3, codec.OldVersion[order3]{}), []string{of + "an old version is a zero value; make it with Upcast"}},
		"blank":       {codec.Versions("v", "3", c3, codec.Upcast(" ", codec.Struct[orderV2](), func(orderV2) (order3, error) { return order3{}, nil })), []string{of + `an old version is blank; use "" for entries that lack the field`}},
		"nils": {codec.Versions("v", "3", c3, codec.Upcast[orderV2, order3]("1", nil, nil), codec.Upcast[orderV2, order3]("2", codec.Struct[orderV2](), nil)), []string{
			of + `version "1": the codec is nil; give the codec that reads its entries`,
			of + `version "2": the function is nil; give one that makes a current event of an old one`,
		}},
		"faults of the old": {codec.Versions("v", "3", c3, codec.Upcast("2", codec.Struct[badTag](), func(badTag) (order3, error) { return order3{}, nil })), []string{
			of + `version "2": codec_test.badTag.ID: unknown tag option "omitemtpy"; the options are squash, remain, omitempty, unix, unixmilli and trim`,
		}},
	} {
		err := check(t, row.c)
		if err == nil || err.Error() != strings.Join(row.want, "\n") {
			t.Errorf("%s: %v", name, err)
		}
		_, encode := row.c.Encode(order3{ID: "1", Currency: "EUR"})
		if _, decode := row.c.Decode(codec.FieldsOf("v", "3", "id", "1", "currency", "EUR")); decode == nil || encode == nil {
			t.Errorf("%s: it works all the same: %v, %v", name, decode, encode)
		}
	}
	current := codec.Versions("v", "1", codec.Struct[badTag]())
	if err := check(t, current); err == nil {
		t.Error("the faults of the current codec are not told")
	}
}

// Kinds can have versions, and versions kinds: none of the two discriminators is a stranger to
// a strict codec.
func TestVersionsOfKinds(t *testing.T) {
	t.Parallel()
	inside := codec.OneOf("kind",
		codec.Kind("order", orders(), func(o order3) any { return o }),
		codec.Kind("placed", codec.Struct[placed](codec.DisallowUnknownFields()), func(p placed) any { return p }))
	strict := codec.DisallowUnknownFields()
	outside := codec.Versions("v", "3", codec.OneOf("kind",
		codec.Kind("order", codec.Struct[order3](strict), func(o order3) any { return o }),
		codec.Kind("closed", codec.JSON[closed]{}, func(c closed) any { return c })),
		codec.Upcast("2", codec.Struct[orderV2](strict), func(o orderV2) (any, error) { return order3{o.ID, o.Cents, "EUR"}, nil }))
	for _, c := range []codec.Codec[any]{inside, outside} {
		if err := check(t, c); err != nil {
			t.Fatal(err)
		}
		want := order3{"c", 6, "CHF"}
		pairs, err := c.Encode(want)
		if err != nil || len(pairs) != 10 {
			t.Fatalf("encoded as %q, %v", pairs, err)
		}
		if got := mustDecode(t, c, codec.FieldsOf(pairs...)); got != want {
			t.Errorf("decoded %+v", got)
		}
	}
	if got := mustDecode(t, inside, codec.FieldsOf("kind", "order", "v", "2", "id", "x", "cents", "1")); got != (order3{"x", 1, "EUR"}) {
		t.Errorf("decoded %+v", got)
	}
	if pairs, err := outside.Encode(closed{"d"}); err != nil || !slices.Equal(pairs, []string{"v", "3", "kind", "closed", "payload", `{"day":"d"}`}) {
		t.Errorf("encoded as %q, %v", pairs, err)
	}
	_, err := outside.Decode(codec.FieldsOf("v", "2", "id", strings.Repeat("x", 9), "cents", "1"))
	wantLines(t, err, `field "id" (string) fails "max=8"`)
}
