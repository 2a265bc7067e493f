package codec_test

import (
	"math"
	"reflect"
	"testing"
	"time"

	"millrace/codec"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	type event struct {
		S      string          `mapstructure:"s"`
		I      int8            `mapstructure:"i"`
		U      uint64          `mapstructure:"u"`
		F      float32         `mapstructure:"f"`
		B      bool            `mapstructure:"b"`
		D      time.Duration   `mapstructure:"d"`
		T      time.Time       `mapstructure:"t"`
		M      time.Time       `mapstructure:"m,unixmilli"`
		UM     codec.UnixMilli `mapstructure:"um"`
		Bytes  []byte          `mapstructure:"bytes"`
		P      **int           `mapstructure:"p"`
		Nil    *int            `mapstructure:"nil"`
		J      []any           `mapstructure:"j"`
		NilJ   []string        `mapstructure:"nil_j"`
		EmptyJ map[string]int  `mapstructure:"empty_j"`
		A      any             `mapstructure:"a"`
		NilA   any             `mapstructure:"nil_a"`
	}
	n := 7
	p := &n
	at := time.Date(2024, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
	pairs, err := codec.Struct[event]().Encode(event{
		S: "\xff\x00", I: -8, U: math.MaxUint64, F: 0.1, B: true, D: 90 * time.Second, T: at, M: at, UM: codec.UnixMilli{Time: at},
		Bytes: []byte{}, P: &p, J: []any{"<", nil}, EmptyJ: map[string]int{}, A: int32(5),
	})
	want := []string{
		"s", "\xff\x00", "i", "-8", "u", "18446744073709551615", "f", "0.1", "b", "true", "d", "1m30s", "t", "2024-02-03T04:05:06.000000007+01:00",
		"m", "1706929506000", "um", "1706929506000", "bytes", "", "p", "7", "j", `["\u003c",null]`, "empty_j", "{}", "a", "5",
	}
	if err != nil || !reflect.DeepEqual(pairs, want) {
		t.Errorf("Encode: %v\n%q, want\n%q", err, pairs, want)
	}
}

func TestEncodeOmitsEmpty(t *testing.T) {
	t.Parallel()
	type event struct {
		S   string          `mapstructure:"s,omitempty"`
		I   int             `mapstructure:"i,omitempty"`
		B   bool            `mapstructure:"b,omitempty"`
		J   []int           `mapstructure:"j,omitempty"`
		P   *int            `mapstructure:"p,omitempty"`
		T   time.Time       `mapstructure:"t,omitempty"`
		U   codec.UnixMilli `mapstructure:"u,omitempty"`
		Sub struct{ X int } `mapstructure:"sub,omitempty"`
	}
	c := codec.Struct[event]()
	zero := 0
	pairs, err := c.Encode(event{J: []int{}, P: &zero})
	if want := []string{"p", "0", "sub", `{"X":0}`}; err != nil || !reflect.DeepEqual(pairs, want) {
		t.Errorf("Encode: %q, %v; want %q", pairs, err, want)
	}
	type empty struct {
		S string `mapstructure:"s,omitempty"`
	}
	_, err = codec.Struct[empty]().Encode(empty{})
	wantLines(t, err, "the codec_test.empty is empty, so there is no field to write; a stream entry needs at least one: set a field or remove an omitempty")
}

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	type event struct {
		F float64        `mapstructure:"f"`
		T time.Time      `mapstructure:"t"`
		J []float64      `mapstructure:"j"`
		S []string       `mapstructure:"s"`
		A any            `mapstructure:"a"`
		P map[string]any `mapstructure:"p"`
	}
	c := codec.Struct[event]()
	cycle := map[string]any{}
	cycle["x"] = cycle
	_, err := c.Encode(event{
		F: math.NaN(), T: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), J: []float64{math.Inf(1)}, S: []string{"\xff"}, A: time.Second, P: cycle,
	})
	wantLines(t, err,
		`field "f" (float64) is not finite`,
		`field "t" (time.Time) has a year or a zone that RFC 3339 cannot express`,
		`field "j" ([]float64) holds what JSON cannot express: NaN, an infinity or a cycle`,
		`field "s" ([]string) holds a string that is not UTF-8, which JSON cannot carry`,
		`field "a" (interface {}) holds a Go value of type time.Duration; a stream field holds text`,
		`field "p" (map[string]interface {}) holds what JSON cannot express: NaN, an infinity or a cycle`)

	// What only looks like the escape that encoding/json writes for bad bytes.
	if _, err := c.Encode(event{S: []string{"\ufffd", `\ufffd`, `\\ufffd`}}); err != nil {
		t.Error(err)
	}
	if _, err := c.Encode(event{S: []string{`\` + "\xff"}}); err == nil {
		t.Error("bad bytes behind a backslash: no error")
	}
}

func TestEncodeValidates(t *testing.T) {
	t.Parallel()
	type event struct {
		Age int    `mapstructure:"age" validate:"max=150"`
		ID  string `mapstructure:"id" validate:"required"`
	}
	_, err := codec.Struct[event]().Encode(event{Age: 151})
	wantLines(t, err, `field "age" (int) fails "max=150"`, `field "id" (string) fails "required"`)
}

func TestEncodeKeepsTheInstantOfOldZones(t *testing.T) {
	t.Parallel()
	c := codec.Struct[one[time.Time]]()
	at := time.Date(1890, 1, 1, 0, 0, 0, 0, time.FixedZone("LMT", 19*60+32))
	pairs, err := c.Encode(one[time.Time]{at})
	if err != nil {
		t.Fatal(err)
	}
	if got := mustDecode(t, c, codec.FieldsOf("v", pairs[1])); !got.V.Equal(at) {
		t.Errorf("%v came back as %v", at, got.V)
	}
}
