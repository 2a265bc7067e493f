package codec_test

import (
	"errors"
	"net/netip"
	"reflect"
	"strconv"
	"testing"
	"time"

	"millrace/codec"
)

type (
	namedText  string
	namedCount uint16
)

// mixed has a field of every kind that is decoded directly.
type mixed struct {
	Text     string            `mapstructure:"text" validate:"max=4"`
	Trimmed  namedText         `mapstructure:"trimmed,trim,omitempty" validate:"notblank,ne=x"`
	Bool     bool              `mapstructure:"bool"`
	Int      int               `mapstructure:"int" validate:"ne=7"`
	Int8     int8              `mapstructure:"int8,trim"`
	Count    namedCount        `mapstructure:"count,omitempty" validate:"omitempty,gt=1"`
	Uint64   uint64            `mapstructure:"uint64" validate:"lt=1000"`
	Float32  float32           `mapstructure:"float32" validate:"gte=-1"`
	Float64  float64           `mapstructure:"float64"`
	Duration time.Duration     `mapstructure:"duration" validate:"max=1h"`
	Time     time.Time         `mapstructure:"time"`
	Milli    time.Time         `mapstructure:"milli,unixmilli,omitempty"`
	Milli2   codec.UnixMilli   `mapstructure:"milli2"`
	Bytes    []byte            `mapstructure:"bytes" validate:"max=8"`
	IP       netip.Addr        `mapstructure:"ip"`
	Nosy     nosyText          `mapstructure:"nosy"`
	PText    *string           `mapstructure:"p_text" validate:"omitempty,min=1"`
	PInt     **int16           `mapstructure:"p_int,omitempty"`
	PTime    *time.Time        `mapstructure:"p_time"`
	PMilli   *time.Time        `mapstructure:"p_milli,unixmilli"`
	PBytes   *[]byte           `mapstructure:"p_bytes"`
	Struct   address           `mapstructure:"struct"`
	PStruct  *address          `mapstructure:"p_struct"`
	List     []int             `mapstructure:"list" validate:"max=2"`
	Map      map[string]string `mapstructure:"map"`
	Array    [2]bool           `mapstructure:"array"`
	Left     string            `mapstructure:"-" validate:"max=3"`
}

var mixedNames = []string{
	"text", "trimmed", "bool", "int", "int8", "count", "uint64", "float32", "float64", "duration", "time", "milli", "milli2", "bytes", "ip", "nosy",
	"p_text", "p_int", "p_time", "p_milli", "p_bytes", "struct", "p_struct", "list", "map", "array", "-", "Text", "unknown", "", "traceparent",
}

// provable is mixed without the struct whose tags only validator sees.
type provable struct {
	Text     string        `mapstructure:"text" validate:"required,max=4"`
	Kind     string        `mapstructure:"trimmed" validate:"omitempty,oneof=a 'b c' x"`
	Int      int           `mapstructure:"int" validate:"ne=7"`
	Uint64   uint64        `mapstructure:"uint64" validate:"lt=1000"`
	Float32  *float32      `mapstructure:"float32" validate:"omitempty,gte=-1"`
	Duration time.Duration `mapstructure:"duration" validate:"max=1h"`
	Time     time.Time     `mapstructure:"time" validate:"required"`
	List     []int         `mapstructure:"list" validate:"max=2"`
}

func TestWhichStructsAreDirect(t *testing.T) {
	t.Parallel()
	type withAny struct {
		ID  string `mapstructure:"id"`
		Any any    `mapstructure:"any"`
	}
	type withRemain struct {
		ID    string         `mapstructure:"id"`
		Extra map[string]any `mapstructure:",remain"`
	}
	type withSquash struct {
		ID   string `mapstructure:"own_id"`
		base `mapstructure:",squash"`
	}
	for name, isDirect := range map[string][2]bool{
		"mixed":      {codec.IsDirect(codec.Struct[mixed]()), true},
		"provable":   {codec.IsDirect(codec.Struct[provable]()), true},
		"benchEvent": {codec.IsDirect(codec.Struct[benchEvent]()), true},
		"withAny":    {codec.IsDirect(codec.Struct[withAny]()), false},
		"withRemain": {codec.IsDirect(codec.Struct[withRemain]()), false},
		"withSquash": {codec.IsDirect(codec.Struct[withSquash]()), false},
	} {
		if isDirect[0] != isDirect[1] {
			t.Errorf("%s: direct is %v, want %v", name, isDirect[0], isDirect[1])
		}
	}
}

// sameDecoding holds the direct way to the one through mapstructure.
func sameDecoding[T any](t *testing.T, fields codec.Fields) {
	t.Helper()
	for _, opts := range [][]codec.StructOption{nil, {codec.DisallowUnknownFields()}} {
		want, wantErr := codec.Slow[T](opts...).Decode(fields)
		for _, form := range []codec.Fields{fields, wireOf(pairsIn(fields)...)} {
			got, gotErr := codec.Struct[T](opts...).Decode(form)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%q: decoded directly\n%+v\nthrough mapstructure\n%+v", form, got, want)
			}
			sameErrors(t, form, gotErr, wantErr)
		}
	}
}

func sameErrors(t *testing.T, of any, got, want error) {
	t.Helper()
	var gotAll, wantAll codec.FieldErrors
	if errors.As(got, &gotAll) != errors.As(want, &wantAll) || !reflect.DeepEqual(gotAll, wantAll) || (got == nil) != (want == nil) ||
		got != nil && got.Error() != want.Error() {
		t.Errorf("%+v: directly the error is\n%v\nby the slow way\n%v", of, got, want)
	}
}

var mixedTexts = []string{
	"", " ", "x", "abcde", " x ", "\xff", "1", "7", "-1", "+1", "010", "0x10", "1_000", "1.5", "-0", "1e3", "1e999", "NaN", "Inf", "0x1p-2", "128", "-129", "65536",
	"18446744073709551615", "18446744073709551616", "9223372036854775808", "true", "T", "yes", "1m30s", "2h", "1700000000000", "1700000000000.5",
	"2024-02-03T04:05:06.789Z", "2024-02-03T04:05:06+01:00", "2024-02-03 04:05:06", "10.1.2.3", "::1%eth0", "null", "{}", "[]", "[1,2,3]", `["a"]`,
	`{"city":"c","zip":1}`, `{"city":"","zip":"x"}`, `{"a":"b"}`, "[true,false]", "[true,false,true]",
}

func TestDirectDecodingIsTheSame(t *testing.T) {
	t.Parallel()
	for i, text := range mixedTexts {
		var all []string
		for j, name := range mixedNames {
			sameDecoding[mixed](t, codec.FieldsOf(name, text))
			sameDecoding[provable](t, codec.FieldsOf(name, text, "text", "t", "time", "2024-02-03T04:05:06Z"))
			all = append(all, name, mixedTexts[(i+j)%len(mixedTexts)])
			sameDecoding[mixed](t, codec.FieldsOf(all...))
			sameDecoding[provable](t, codec.FieldsOf(all...))
		}
		// Each name again, behind the others and with another text.
		for j, name := range mixedNames {
			all = append(all, name, text, mixedNames[(i*j)%len(mixedNames)], text)
		}
		sameDecoding[mixed](t, codec.FieldsOf(all...))
		sameDecoding[provable](t, codec.FieldsOf(all...))
	}
	for _, fields := range []codec.Fields{
		{}, benchFields, codec.FieldsOf("unknown", "x"), codec.FieldsOf("unknown", "x", "other", "y", "unknown", "z"),
		codec.FieldsOf("traceparent", "x", "millrace.id", "1-0"),
	} {
		sameDecoding[mixed](t, fields)
		sameDecoding[benchEvent](t, fields)
		sameDecoding[struct{}](t, fields)
	}
}

// An entry with many fields more than the type has is decoded another way.
func TestDecodingAFewOfManyFieldsIsTheSame(t *testing.T) {
	t.Parallel()
	for _, text := range mixedTexts {
		for turn := range 40 {
			var pairs []string
			for i := range 40 {
				pairs = append(pairs, "other "+strconv.Itoa(i), text)
			}
			pairs[2*turn] = "int"
			pairs[2*(turn*7%40)] = "text"
			pairs[2*(turn*17%40)], pairs[2*(turn*17%40)+1] = "int", "8"
			sameDecoding[few](t, codec.FieldsOf(pairs...))
			sameDecoding[few](t, codec.FieldsOf(pairs[:2*turn]...))
		}
	}
}

// few has few fields.
type few struct {
	Text string `mapstructure:"text" validate:"required"`
	Int  *int   `mapstructure:"int"`
}

// FuzzDirectDecode gives each field that is present one of three texts, and some of them
// twice, in an order that turns about.
func FuzzDirectDecode(f *testing.F) {
	for i, text := range mixedTexts {
		f.Add(uint32(1)<<(i%len(mixedNames)), uint32(i), uint8(i), text, "1", "x")
		f.Add(^uint32(0), uint32(0), uint8(0), text, text, text)
		f.Add(^uint32(0), ^uint32(0), uint8(i), text, "1", text)
	}
	f.Fuzz(func(t *testing.T, present, twice uint32, turn uint8, a, b, c string) {
		texts := [...]string{a, b, c}
		var pairs []string
		for i := range mixedNames {
			i = (i + int(turn)) % len(mixedNames)
			if present&(1<<i) != 0 {
				pairs = append(pairs, mixedNames[i], texts[i%len(texts)])
			}
			if j := (i * 7) % len(mixedNames); twice&(1<<i) != 0 {
				pairs = append(pairs, mixedNames[j], texts[(i+j)%len(texts)])
			}
		}
		sameDecoding[mixed](t, codec.FieldsOf(pairs...))
		sameDecoding[provable](t, codec.FieldsOf(pairs...))
	})
}

type encoded struct {
	Text     string        `mapstructure:"text"`
	Empty    namedText     `mapstructure:"empty,omitempty"`
	Bool     bool          `mapstructure:"bool"`
	Int      int8          `mapstructure:"int"`
	PInt     *int64        `mapstructure:"p_int"`
	Uint     uint64        `mapstructure:"uint,omitempty"`
	Float32  float32       `mapstructure:"float32"`
	Float64  float64       `mapstructure:"float64"`
	Duration time.Duration `mapstructure:"duration"`
	Time     time.Time     `mapstructure:"time"`
	Milli    *time.Time    `mapstructure:"milli,unixmilli"`
	Bytes    []byte        `mapstructure:"bytes"`
	IP       netip.Addr    `mapstructure:"ip"`
	List     []string      `mapstructure:"list"`
}

// pairsOf encodes by hand, in what is the plainest way for each type.
func pairsOf(v encoded) []string {
	pairs := []string{"text", v.Text}
	if v.Empty != "" {
		pairs = append(pairs, "empty", string(v.Empty))
	}
	pairs = append(pairs, "bool", strconv.FormatBool(v.Bool), "int", strconv.Itoa(int(v.Int)))
	if v.PInt != nil {
		pairs = append(pairs, "p_int", strconv.FormatInt(*v.PInt, 10))
	}
	if v.Uint != 0 {
		pairs = append(pairs, "uint", strconv.FormatUint(v.Uint, 10))
	}
	pairs = append(pairs, "float32", strconv.FormatFloat(float64(v.Float32), 'g', -1, 32), "float64", strconv.FormatFloat(v.Float64, 'g', -1, 64),
		"duration", v.Duration.String(), "time", v.Time.Format(time.RFC3339Nano))
	if v.Milli != nil {
		pairs = append(pairs, "milli", strconv.FormatInt(v.Milli.UnixMilli(), 10))
	}
	if v.Bytes != nil {
		pairs = append(pairs, "bytes", string(v.Bytes))
	}
	pairs = append(pairs, "ip", v.IP.String())
	if !v.IP.IsValid() {
		pairs[len(pairs)-1] = ""
	}
	if v.List != nil {
		pairs = append(pairs, "list", `["a"]`)
	}
	return pairs
}

// sameEncoding holds Encode to pairsOf, twice, as its memory is used again.
func sameEncoding(t *testing.T, v encoded) {
	t.Helper()
	got, err := codec.Struct[encoded]().Encode(v)
	if err != nil {
		slow, slowErr := codec.Slow[encoded]().Encode(v)
		if slow != nil {
			t.Errorf("%+v: %v, by the slow way %q", v, err, slow)
		}
		sameErrors(t, v, err, slowErr)
		return
	}
	again, err := codec.Struct[encoded]().Encode(encoded{Text: v.Text + "!", Int: v.Int + 1, Float64: 0.125, Bytes: []byte("0123456789")})
	if err != nil || again[1] != v.Text+"!" {
		t.Errorf("another value: %q, %v", again, err)
	}
	if want := pairsOf(v); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v is encoded as\n%q\nwant\n%q", v, got, want)
	}
}

func TestEncodingIsWhatItIsByHand(t *testing.T) {
	t.Parallel()
	n, at := int64(-9223372036854775808), time.Date(2024, 2, 3, 4, 5, 6, 789e6, time.FixedZone("", 3600))
	sameEncoding(t, encoded{})
	sameEncoding(t, encoded{
		"a text", "empty", true, -128, &n, 18446744073709551615, 1e-9, -1e300, 90 * time.Second, at, &at, []byte("\xff\x00"),
		netip.MustParseAddr("10.1.2.3"), []string{"a"},
	})
	sameEncoding(t, encoded{Bytes: []byte{}, Time: at.UTC(), Uint: 1})
}

// FuzzEncode holds the texts of all numbers and times to those made by hand, and
// proven values to validator's verdict.
func FuzzEncode(f *testing.F) {
	f.Add("", int64(0), uint64(0), 0.0, byte(0))
	f.Add("a", int64(1), uint64(1), -1.0, byte(2))
	f.Add("x", int64(3600e9), uint64(999), 0.5, byte(16))
	f.Add("text\xff", int64(-9223372036854775808), uint64(18446744073709551615), 1e300, byte(255))
	f.Fuzz(func(t *testing.T, text string, n int64, u uint64, x float64, set byte) {
		v := encoded{
			Text: text, Bool: set&1 != 0, Int: int8(n), Uint: u, Float32: float32(x), Float64: x, Duration: time.Duration(n),
			Time: time.Unix(n%100_000_000_000, int64(u%1e9)).In(time.FixedZone("", int(int8(u))*900)),
		}
		if set&2 != 0 {
			v.PInt, v.Milli = &n, &v.Time
		}
		if set&4 != 0 {
			v.Empty, v.Bytes = namedText(text), []byte(text)
		}
		if set&8 != 0 {
			v.IP, v.List = netip.AddrFrom4([4]byte{set, byte(n), byte(u), 1}), []string{"a"}
		}
		sameEncoding(t, v)

		valid := provable{Text: text, Kind: text, Int: int(n), Uint64: u, Float32: &v.Float32, Duration: v.Duration, Time: v.Time, List: make([]int, set%4)}
		if set&16 != 0 {
			valid.Float32, valid.Time = nil, time.Time{}
		}
		got, gotErr := codec.Struct[provable]().Encode(valid)
		want, wantErr := codec.Slow[provable]().Encode(valid)
		sameErrors(t, valid, gotErr, wantErr)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v is encoded as %q, by the slow way as %q", valid, got, want)
		}
	})
}
