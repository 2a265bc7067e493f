package codec_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"

	"millrace/codec"
)

type nosyText string

func (n *nosyText) UnmarshalText(b []byte) error { return fmt.Errorf("bad text %q", b) }
func (n nosyText) MarshalText() ([]byte, error)  { return nil, fmt.Errorf("bad value %q", string(n)) }

type nosyJSON struct{ S string }

func (n *nosyJSON) UnmarshalJSON(b []byte) error { return fmt.Errorf("bad json %s", b) }
func (n nosyJSON) MarshalJSON() ([]byte, error)  { return nil, fmt.Errorf("bad value %q", n.S) }

type contact struct {
	Mail string            `json:"mail" validate:"email"`
	Num  int8              `json:"num"`
	More map[string]string `json:"more" validate:"dive,keys,max=2,endkeys,max=2"`
}

type everything struct {
	String   string             `mapstructure:"string" validate:"max=2"`
	Email    *string            `mapstructure:"email" validate:"email"`
	Not      string             `mapstructure:"not" validate:"secret"`
	Bool     bool               `mapstructure:"bool"`
	Int      int                `mapstructure:"int"`
	Int8     int8               `mapstructure:"int8" validate:"max=1"`
	Uint     uint               `mapstructure:"uint"`
	Uint16   *uint16            `mapstructure:"uint16"`
	Float32  float32            `mapstructure:"float32"`
	Float64  float64            `mapstructure:"float64" validate:"lt=0"`
	Duration time.Duration      `mapstructure:"duration"`
	Time     time.Time          `mapstructure:"time"`
	Milli    time.Time          `mapstructure:"milli,unixmilli"`
	Milli2   codec.UnixMilli    `mapstructure:"milli2"`
	Bytes    []byte             `mapstructure:"bytes" validate:"max=1"`
	Text     nosyText           `mapstructure:"text"`
	IP       netip.Addr         `mapstructure:"ip"`
	JSON     nosyJSON           `mapstructure:"json"`
	Struct   contact            `mapstructure:"struct"`
	Slice    []contact          `mapstructure:"slice" validate:"dive"`
	Ints     []int              `mapstructure:"ints" validate:"dive,max=1"`
	Array    [2]time.Time       `mapstructure:"array"`
	Map      map[string]contact `mapstructure:"map" validate:"dive,keys,max=1,endkeys,required"`
	IntMap   map[int]string     `mapstructure:"int_map" validate:"dive,max=1"`
	Any      any                `mapstructure:"any" validate:"max=1"`
	Panic    panicText          `mapstructure:"panic"`
	Squashed `mapstructure:",squash"`
}

type Squashed struct {
	Inner string `mapstructure:"inner" validate:"eqfield=Other"`
	Other string `mapstructure:"other"`
}

// TestNoErrorContainsAValue puts canaries everywhere a value can be and looks for
// them in all errors. "0451" and "9876" stand in all of them.
func TestNoErrorContainsAValue(t *testing.T) {
	t.Parallel()
	secret := codec.WithValidation("secret", func(fl validator.FieldLevel) bool {
		if strings.HasPrefix(fl.Field().String(), "[") {
			panic(fl.Field().String())
		}
		return fl.Field().String() == ""
	})
	plain := codec.Struct[everything](secret)
	strict := codec.Struct[everything](secret, codec.DisallowUnknownFields())
	type rest struct {
		Extra map[string]string `mapstructure:",remain" validate:"dive,keys,max=2,endkeys,max=2"`
	}
	remain := codec.Struct[rest]()
	for _, c := range []error{check(t, plain), check(t, strict), check(t, remain)} {
		if c != nil {
			t.Fatal(c)
		}
	}
	seen := 0
	look := func(canary any, err error) {
		if err == nil {
			return
		}
		seen++
		for _, e := range parts(t, err) {
			for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e)} {
				if strings.Contains(text, "0451") || strings.Contains(text, "9876") || strings.Contains(text, "S3CR3T") {
					t.Errorf("canary %q found in: %s", canary, text)
				}
			}
		}
	}
	names := []string{
		"string", "email", "not", "bool", "int", "int8", "uint", "uint16", "float32", "float64", "duration", "time", "milli", "milli2", "bytes", "text",
		"ip", "json", "struct", "slice", "ints", "array", "map", "int_map", "any", "panic", "inner", "other",
	}
	for _, canary := range []any{
		"S3CR3T-0451", "9876987698769876987698769876", "-9876", "9876", "98.76", "0x9876", "9876_0451", "9876h0451", "9876-04-51T00:00:00Z", "1e9876",
		"2024-02-03T04:05:06+98:76", `"S3CR3T-0451"`, `["S3CR3T-0451"]`, `[9876987698769876987698769876]`, `[9876]`, `{"S3CR3T-0451":9876}`,
		`{"mail":"S3CR3T-0451","num":9876}`, `{"mail":"S3CR3T-0451","more":{"S3CR3T].0451[9876":"S3CR3T-0451"}}`,
		`[{"mail":"S3CR3T-0451"},{"mail":9876}]`, `[{"mail":"S3CR3T-0451","more":{"S3CR3T-0451":"S3CR3T-0451"}}]`,
		`{"S3CR3T.0451":{"mail":"S3CR3T"}}`, `{"9876":"S3CR3T-0451"}`, `{"9876987698769876987698769876":"S3CR3T"}`,
		`{"mail":S3CR3T-0451}`, "\"S3CR3T-0451\xff\"", "S3CR3T\x000451", `{"num":9876}`, `{"num":"S3CR3T-0451"}`, `["S3CR3T-0451"`,
		9876, -9876.0451, []byte("S3CR3T-0451"), []string{"S3CR3T-0451"}, map[string]int{"S3CR3T": 9876}, time.Duration(9876), errors.New("S3CR3T-0451"),
	} {
		text := fmt.Sprint(canary)
		all := []string{"unknown", text}
		for _, name := range names {
			all = append(all, name, text)
			_, err := plain.Decode(codec.FieldsOf(name, text))
			look(canary, err)
		}
		_, err := plain.Decode(codec.FieldsOf(all...))
		look(canary, err)
		_, err = strict.Decode(codec.FieldsOf(all...))
		look(canary, err)
		_, err = plain.Decode(codec.FieldsOf("unknown", text))
		look(canary, err)
		_, err = remain.Decode(codec.FieldsOf("unknown", text))
		look(canary, err)
		_, err = remain.Encode(rest{map[string]string{"k": text}})
		look(canary, err)
		_, err = codec.JSON[everything]{}.Decode(codec.FieldsOf("payload", text))
		look(canary, err)
		_, err = codec.JSON[contact]{}.Decode(codec.FieldsOf("payload", text))
		look(canary, err)
		_, err = codec.JSON[[]contact]{}.Decode(codec.FieldsOf("payload", text))
		look(canary, err)
		look(canary, (&codec.UnixMilli{}).UnmarshalText(fmt.Append(nil, canary, "x")))

		value := everything{
			String: text, Email: &text, Not: text, Int: 9876, Int8: 98, Text: nosyText(text), JSON: nosyJSON{text}, Bytes: []byte(text), Any: canary,
			Slice: []contact{{Mail: text, More: map[string]string{text: text}}}, Map: map[string]contact{text: {Mail: text}},
			Panic: panicText{text}, Squashed: Squashed{Inner: text}, Time: time.Date(98760, 1, 1, 0, 0, 0, 0, time.UTC),
		}
		_, err = plain.Encode(value)
		look(canary, err)
		_, err = codec.Struct[encodeOnly]().Encode(encodeOnly{Text: nosyText(text), JSON: nosyJSON{text}, Any: canary, S: []string{text + "\xff"}, Panic: panicText{text}})
		look(canary, err)
		_, err = codec.JSON[contact]{}.Encode(value.Slice[0])
		look(canary, err)
		_, err = codec.JSON[encodeOnly]{}.Encode(encodeOnly{Text: nosyText(text)})
		look(canary, err)
	}
	if seen < 1000 {
		t.Errorf("only %d errors looked at", seen)
	}
}

// encodeOnly has no validate tags that would end an encoding early.
type encodeOnly struct {
	Text  nosyText
	JSON  nosyJSON
	Any   any
	S     []string
	Panic panicText
}

// parts returns err and, for FieldErrors, each of them. Nothing else may be
// wrapped, as that would be somebody else's text.
func parts(t *testing.T, err error) []error {
	t.Helper()
	var errs codec.FieldErrors
	if errors.As(err, &errs) {
		return append(errs.Unwrap(), err)
	}
	if inner := errors.Unwrap(err); inner != nil {
		t.Errorf("%v wraps %v", err, inner)
	}
	return []error{err}
}
