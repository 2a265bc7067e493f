package codec_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"
	"github.com/go-playground/validator/v10/non-standard/validators"

	"millrace/codec"
)

// newOracle returns a validator as a user's program has it.
func newOracle(t *testing.T) *validator.Validate {
	t.Helper()
	v := validator.New(validator.WithRequiredStructEnabled())
	if err := v.RegisterValidation("notblank", validators.NotBlank); err != nil {
		t.Fatal(err)
	}
	return v
}

// sameProof fails when the proof says another thing than validator, in either
// direction, and returns whether it said anything.
func sameProof(t *testing.T, v *validator.Validate, value any, tag string) (known bool) {
	t.Helper()
	holds, known := codec.Proves(value, tag)
	if !known {
		return false
	}
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%T(%v) with the tag %q: the proof says %v, validator panics: %v", value, value, tag, holds, r)
		}
	}()
	if err := v.VarWithKey("Field", value, tag); (err == nil) != holds {
		t.Errorf("%T(%v) with the tag %q: the proof says %v, validator %v", value, value, tag, holds, err)
	}
	return true
}

// provenValues are values of all types that a proof can be asked about, made
// from the arguments.
func provenValues(text string, n int64, x float64) []any {
	i8, f32, d, at, raw := int8(n), float32(x), time.Duration(n), time.Unix(0, n).UTC(), []byte(text)
	p := &text
	return []any{
		text, namedText(text), p, &p, (*string)(nil), n, int(n), i8, &i8, (*int8)(nil), uint8(n), uint64(n), namedCount(n), x, f32, &f32,
		n%2 == 0, d, &d, at, time.Time{}, &at, &time.Time{}, codec.UnixMilli{Time: at}, codec.UnixMilli{}, raw, &raw, []byte(nil), []byte{}, make([]int, len(text)%4),
		map[string]int(nil), map[string]int{}, map[string]int{text: 1}, [2]int{1: int(n)}, [0]int{}, struct{ A, b string }{text, ""}, &struct{ A int }{},
	}
}

var provenTags = strings.Fields(`required omitempty omitzero omitnil notblank required,omitempty omitempty,required omitempty,notblank omitnil,required
	omitzero,notblank omitempty,min=1 omitempty,max=2,ne=1 required,lt=3 min=0 min=-1 min=1 max=1 len=0 len=2 len=3 gt=0 gte=0 lt=0 lte=0 lte=4 gt=2 eq=0 eq=1 ne=0
	ne=1 eq=abc ne=abc eq= ne= eq=true ne=true eq=t eq=1e3 lt=1.5 gte=-1.5 gte=1.5 eq=0x10 max=0x10 min=010 max=1_0 eq=-0 lt=Inf ne=NaN gt=1h max=1m30s eq=1s min=1ns
	oneof=a oneof= oneof=1 oneof=01 noneof=1 noneof=abc contains=b excludes=b startswith=a endswith=c contains= excludes= contains=0x2C excludes=0x7C eq=a0x2Cb
	lt=0.1 lte=0.1 gte=0.1 gt=0.1 max=9223372036854775807 max=9223372036854775808 max=18446744073709551615 min=18446744073709551616`)

func TestProofSaysWhatValidatorSays(t *testing.T) {
	t.Parallel()
	v := newOracle(t)
	tags := append([]string{"oneof='a b' abc", "oneof='it''s' a'b'c 'x", "oneof=1 2  -3", "noneof='a b'\tabc", "eq=a b"}, provenTags...)
	known := map[string]bool{}
	texts := []string{"", " ", "a", "ab", "abc", "a b", "a,b", "a|b", "\u00e9\u00e9\u00e9", "\xff\xfe", "its", "\u2003", "abcdefghijklmnopqr"}
	numbers := []int64{0, 1, -1, 2, 3, 8, 10, 16, 300, 90e9, 3600e9 + 1, math.MinInt64, math.MaxInt64}
	floats := []float64{0, math.Copysign(0, -1), 1, 1.5, -1.5, 0.1, float64(float32(0.1)), 1000, math.NaN(), math.Inf(1), math.Inf(-1)}
	for i := range 2 * len(texts) {
		for _, value := range provenValues(texts[i%len(texts)], numbers[i%len(numbers)], floats[i%len(floats)]) {
			for _, tag := range tags {
				known[tag] = sameProof(t, v, value, tag) || known[tag]
			}
		}
	}
	for _, tag := range tags {
		if unparsable := tag == "min=18446744073709551616"; !known[tag] && !unparsable {
			t.Errorf("the tag %q is proven for no type", tag)
		}
	}
}

// FuzzProof asks about any tag, on values of all types.
func FuzzProof(f *testing.F) {
	for i, tag := range provenTags {
		f.Add(tag, "abc"[:i%4], int64(i-3), float64(i)/2-1)
	}
	f.Add("oneof='a b' abc", "a b", int64(1), 0.1)
	f.Fuzz(func(t *testing.T, tag, text string, n int64, x float64) {
		if !utf8.ValidString(tag) || len(tag) > 100 {
			t.Skip("no tag that a source file can hold")
		}
		v := newOracle(t) // a new one, because it keeps every tag that it has seen
		for _, value := range provenValues(text, n, x) {
			sameProof(t, v, value, tag)
		}
	})
}

type valued struct{ S string }

func (v valued) ValidatorValue() any { return 0 }

func TestWhatIsLeftToValidator(t *testing.T) {
	t.Parallel()
	type recursive struct {
		Next *recursive
		Num  int
	}
	type hasTag struct {
		List *recursive
		N    int `validate:"gt=0"`
	}
	for _, value := range []any{valued{}, &valued{}, address{}, &hasTag{}, struct{ Any any }{}, struct{ In struct{ address } }{}} {
		for _, tag := range []string{"required", "omitempty"} {
			if _, known := codec.Proves(value, tag); known {
				t.Errorf("%T with the tag %q is not left to validator", value, tag)
			}
		}
	}
	for _, tag := range []string{
		"dive", "email", "required|min=1", "eq=a|eq=b", "eqfield=Other", "required_with=Other", "iscolor", "country_code", "isdefault", "", "min", "len=", "len=x",
		"required=1", "omitempty=1", "structonly", "oneof", "min=1,email", "unheard_of", "unheard=1", "gt=1h",
	} {
		if _, known := codec.Proves("abc", tag); known {
			t.Errorf("the tag %q of a string is not left to validator", tag)
		}
	}
	for _, value := range []any{true, time.Time{}, struct{ A int }{}, complex(1, 1), uintptr(1), make(chan int)} {
		for _, tag := range []string{"gt=0", "len=1", "oneof=1"} {
			if _, known := codec.Proves(value, tag); known {
				t.Errorf("%T with the tag %q is not left to validator", value, tag)
			}
		}
	}
	if holds, known := codec.Proves(&recursive{}, "required"); !holds || !known {
		t.Error("a struct without a tag, that holds itself, is left to validator")
	}
}

func TestProofOfAStruct(t *testing.T) {
	t.Parallel()
	type embedded struct{ address }
	type local struct {
		ID   string   `mapstructure:"id"`
		Skip []int    `mapstructure:"-" validate:"-"`
		Call func()   `mapstructure:"-"`
		Kept *string  `mapstructure:"-" validate:"omitempty,min=1"`
		own  embedded `validate:"required"`
	}
	_ = local{}.own
	if !codec.HasProof(codec.Struct[local]()) || !codec.HasProof(codec.Struct[benchEvent]()) || !codec.HasProof(codec.Struct[struct{}]()) {
		t.Error("a struct of tags that are all known has no proof")
	}
	if codec.HasProof(codec.Struct[mixed]()) || codec.HasProof(codec.Struct[everything]()) {
		t.Error("a struct that validator walks into has a proof")
	}
	type hidden struct {
		base `mapstructure:"-"`
		N    int `mapstructure:"n"`
	}
	if codec.HasProof(codec.Struct[hidden]()) {
		t.Error("a struct that embeds one with tags has a proof")
	}
	_, err := codec.Struct[hidden]().Decode(codec.FieldsOf("n", "1"))
	wantLines(t, err, `field "base.ID" (string) fails "required"`)

	type redefined struct {
		N int `mapstructure:"n" validate:"min=5"`
	}
	c := codec.Struct[redefined](codec.WithValidation("min", func(fl validator.FieldLevel) bool { return fl.Field().Int() == 1 }))
	if codec.HasProof(c) {
		t.Error("a tag of the user's own has a proof")
	}
	if _, err := c.Decode(codec.FieldsOf("n", "1")); err != nil {
		t.Errorf("the user's tag is not asked: %v", err)
	}
	_, err = c.Decode(codec.FieldsOf("n", "6"))
	wantLines(t, err, `field "n" (int) fails "min=5"`)

	// What a proof cannot prove gets validator's own error, in both directions.
	bad := benchValue
	bad.UserID, bad.Kind = 0, "moved"
	want := []string{`field "kind" (string) fails "oneof=created renamed deleted"`, `field "user_id" (int64) fails "gt=0"`}
	_, err = codec.Struct[benchEvent]().Encode(bad)
	wantLines(t, err, want...)
	_, err = codec.Struct[benchEvent]().Decode(codec.FieldsOf("id", "1", "kind", "moved", "user_id", "0", "at", benchMap["at"].(string)))
	wantLines(t, err, want...)
	if !reflect.DeepEqual(mustDecode(t, codec.Struct[benchEvent](), benchFields), benchValue) {
		t.Error("a valid entry is not decoded")
	}
}
