package codec_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/codec"
)

// one is an entry type of a single field.
type one[V any] struct {
	V V `mapstructure:"v"`
}

type row struct {
	text   string
	want   any    // or
	reason string // a part of it
}

// golden decodes each text into a V, and into a *V, and compares.
func golden[V comparable](t *testing.T, rows []row) {
	t.Helper()
	t.Run(fmt.Sprintf("%T", *new(V)), func(t *testing.T) {
		t.Parallel()
		plain, pointer := codec.Struct[one[V]](), codec.Struct[one[**V]]()
		for _, r := range rows {
			fields := codec.FieldsOf("v", r.text)
			got, err := plain.Decode(fields)
			deep, deepErr := pointer.Decode(fields)
			if r.reason != "" {
				for _, err := range []error{err, deepErr} {
					if err == nil {
						t.Errorf("%q: decoded to %v, want the reason %q", r.text, got.V, r.reason)
					} else if reason := fieldErrors(t, err)[0].Reason; reason != r.reason {
						t.Errorf("%q: reason %q, want %q", r.text, reason, r.reason)
					}
				}
				continue
			}
			if err != nil || deepErr != nil {
				t.Errorf("%q: %v, %v", r.text, err, deepErr)
				continue
			}
			if any(got.V) != r.want || any(**deep.V) != r.want {
				t.Errorf("%q: got %v and %v, want %v", r.text, got.V, **deep.V, r.want)
			}
		}
	})
}

// common are texts that no integer type takes.
func notIntegers(reason string) []row {
	rows := []row{{text: "", reason: "is blank"}}
	for _, text := range []string{" ", "x", "0x10", "0b1", "0o7", "1_000", "1e3", "1.0", " 1", "1 ", "\t1", "--1", "NaN", "Inf", "true", "1\x00", "\u0661"} {
		rows = append(rows, row{text: text, reason: reason})
	}
	return rows
}

func signed[V int | int8 | int16 | int32 | int64](t *testing.T, least, most V, kind string) {
	t.Helper()
	golden[V](t, append(notIntegers("is not a decimal integer"),
		row{text: "0", want: V(0)},
		row{text: "-0", want: V(0)},
		row{text: "010", want: V(10)},
		row{text: "+5", want: V(5)},
		row{text: "-5", want: V(-5)},
		row{text: fmt.Sprint(least), want: least},
		row{text: fmt.Sprint(most), want: most},
		row{text: fmt.Sprint(most) + "0", reason: "is out of range for " + kind},
		row{text: fmt.Sprint(least) + "0", reason: "is out of range for " + kind},
	))
}

func unsigned[V uint | uint8 | uint16 | uint32 | uint64](t *testing.T, most V, kind string) {
	t.Helper()
	golden[V](t, append(notIntegers("is not a decimal integer of zero or more"),
		row{text: "0", want: V(0)},
		row{text: "010", want: V(10)},
		row{text: "+5", reason: "is not a decimal integer of zero or more"},
		row{text: "-1", reason: "is not a decimal integer of zero or more"},
		row{text: fmt.Sprint(most), want: most},
		row{text: fmt.Sprint(most) + "0", reason: "is out of range for " + kind},
	))
}

func TestDecodeConvertsStrictly(t *testing.T) {
	t.Parallel()
	signed[int](t, math.MinInt, math.MaxInt, "int")
	signed[int8](t, math.MinInt8, math.MaxInt8, "int8")
	signed[int16](t, math.MinInt16, math.MaxInt16, "int16")
	signed[int32](t, math.MinInt32, math.MaxInt32, "int32")
	signed[int64](t, math.MinInt64, math.MaxInt64, "int64")
	unsigned[uint](t, math.MaxUint, "uint")
	unsigned[uint8](t, math.MaxUint8, "uint8")
	unsigned[uint16](t, math.MaxUint16, "uint16")
	unsigned[uint32](t, math.MaxUint32, "uint32")
	unsigned[uint64](t, math.MaxUint64, "uint64")

	const noFloat = "is not a finite decimal number"
	floats := []row{{text: "", reason: "is blank"}}
	for _, text := range []string{" ", "x", "0x10", "0x1p-2", "1_000", " 1", "1 ", "NaN", "nan", "Inf", "-Inf", "+infinity", "e", ".", "1e", "1,5"} {
		floats = append(floats, row{text: text, reason: noFloat})
	}
	golden[float64](t, append(floats,
		row{text: "0", want: 0.0}, row{text: "-1.5", want: -1.5}, row{text: "+1", want: 1.0}, row{text: "1e3", want: 1000.0},
		row{text: "010", want: 10.0}, row{text: ".5", want: 0.5}, row{text: "1e39", want: 1e39},
		row{text: "1e400", reason: "is out of range for float64"}))
	golden[float32](t, append(floats,
		row{text: "1.5", want: float32(1.5)}, row{text: "1e39", reason: "is out of range for float32"},
		row{text: "-1e39", reason: "is out of range for float32"}))

	bools := []row{{text: "", reason: "is blank"}}
	for _, text := range []string{"1", "t", "T", "TRUE", "true", "True"} {
		bools = append(bools, row{text: text, want: true})
	}
	for _, text := range []string{"0", "f", "F", "FALSE", "false", "False"} {
		bools = append(bools, row{text: text, want: false})
	}
	for _, text := range []string{" ", "yes", "on", "2", "-1", "tRUE", " true", "010", "NaN"} {
		bools = append(bools, row{text: text, reason: "is neither true nor false"})
	}
	golden[bool](t, bools)

	const noDuration = `is not a duration such as "1m30s"`
	golden[time.Duration](t, []row{
		{text: "", reason: "is blank"}, {text: " ", reason: noDuration}, {text: "5", reason: noDuration}, {text: "1 s", reason: noDuration},
		{text: "0x1s", reason: noDuration}, {text: "NaN", reason: noDuration}, {text: "9999999999h", reason: noDuration},
		{text: "0", want: time.Duration(0)}, {text: "1m30s", want: 90 * time.Second}, {text: "-1.5h", want: -90 * time.Minute}, {text: "+1us", want: time.Microsecond},
	})

	const noTime = "is not an RFC 3339 time"
	golden[time.Time](t, []row{
		{text: "", reason: "is blank"}, {text: " ", reason: noTime}, {text: "0", reason: noTime}, {text: "1700000000000", reason: noTime},
		{text: "2024-02-30T00:00:00Z", reason: noTime}, {text: "2024-02-03", reason: noTime}, {text: "2024-02-03 04:05:06Z", reason: noTime},
		{text: "2024-02-03T04:05:06.789Z", want: time.Date(2024, 2, 3, 4, 5, 6, 789e6, time.UTC)},
	})

	const noMilli = "is not a decimal integer of Unix milliseconds"
	golden[codec.UnixMilli](t, []row{
		{text: "", reason: "is blank"}, {text: "x", reason: noMilli}, {text: "1e3", reason: noMilli}, {text: "0x10", reason: noMilli},
		{text: " 1", reason: noMilli}, {text: "99999999999999999999", reason: noMilli}, {text: "2024-02-03T04:05:06Z", reason: noMilli},
		{text: "0", want: codec.UnixMilli{Time: time.UnixMilli(0).UTC()}}, {text: "-1", want: codec.UnixMilli{Time: time.UnixMilli(-1).UTC()}},
		{text: "0010", want: codec.UnixMilli{Time: time.UnixMilli(10).UTC()}},
	})

	var strings []row
	for _, text := range []string{"", " ", "a", "0x10", "null", "a\x00b", "\xff\xfe", "caf\u00e9", "a,b"} {
		strings = append(strings, row{text: text, want: text})
	}
	golden[string](t, strings)
	golden[any](t, strings)
}

func TestDecodeUnixMilliOption(t *testing.T) {
	t.Parallel()
	type event struct {
		At    time.Time  `mapstructure:"at,unixmilli"`
		Until *time.Time `mapstructure:"until,unixmilli"`
	}
	c := codec.Struct[event]()
	got := mustDecode(t, c, codec.FieldsOf("at", "1700000000123", "until", "-5"))
	if want := time.UnixMilli(1700000000123).UTC(); got.At != want || *got.Until != time.UnixMilli(-5).UTC() {
		t.Errorf("got %v and %v", got.At, *got.Until)
	}
	_, err := c.Decode(codec.FieldsOf("at", "2024-02-03T04:05:06Z", "until", ""))
	wantLines(t, err,
		`field "at" (time.Time) is not a decimal integer of Unix milliseconds`,
		`field "until" (*time.Time) is blank`)
}

func TestDecodeTrims(t *testing.T) {
	t.Parallel()
	type event struct {
		Name string `mapstructure:"name,trim"`
		Age  *int   `mapstructure:"age,trim"`
		Raw  string `mapstructure:"raw"`
	}
	c := codec.Struct[event]()
	got := mustDecode(t, c, codec.FieldsOf("name", " \tAda\n", "age", " 36 ", "raw", " x "))
	if got.Name != "Ada" || *got.Age != 36 || got.Raw != " x " {
		t.Errorf("got %q, %d, %q", got.Name, *got.Age, got.Raw)
	}
	_, err := c.Decode(codec.FieldsOf("age", "  "))
	wantLines(t, err, `field "age" (*int) is blank`)
}

func TestEncodeTakesGoValues(t *testing.T) {
	t.Parallel()
	type event struct {
		A     any            `mapstructure:"a"`
		Extra map[string]any `mapstructure:",remain"`
	}
	c := codec.Struct[event]()
	got, err := c.Encode(event{A: int16(9), Extra: map[string]any{"b": true, "f": float32(0.1), "s": []byte("bytes"), "u": uint64(7), "x": -3}})
	if want := []string{"a", "9", "b", "true", "f", "0.1", "s", "bytes", "u", "7", "x", "-3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	_, err = c.Encode(event{A: map[string]any{}, Extra: map[string]any{"b": nil, "s": time.Second}})
	wantLines(t, err,
		`field "a" (interface {}) holds a Go value of type map[string]interface {}; a stream field holds text`,
		`field "b" holds nil; a stream field holds text`,
		`field "s" holds a Go value of type time.Duration; a stream field holds text`)
}

func TestDecodeKeepsBytes(t *testing.T) {
	t.Parallel()
	type name string
	type blob []byte
	type event struct {
		S name    `mapstructure:"s"`
		B blob    `mapstructure:"b"`
		P *[]byte `mapstructure:"p"`
	}
	big := strings.Repeat("\x00\xff\u00e9x", 10<<20/5)
	got := mustDecode(t, codec.Struct[event](), codec.FieldsOf("s", big, "b", big, "p", ""))
	if string(got.S) != big || string(got.B) != big {
		t.Error("10 MB did not come through unchanged")
	}
	if got.P == nil || *got.P == nil || len(*got.P) != 0 {
		t.Errorf("an empty byte slice came as %v", got.P)
	}
}
