package codec_test

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/codec"
)

type deep struct {
	S string             `json:"s"`
	M map[string]float64 `json:"m"`
	P *deep              `json:"p"`
}

type Level struct {
	L int16 `mapstructure:"l"`
}

type allKinds struct {
	S     string          `mapstructure:"s"`
	B     bool            `mapstructure:"b"`
	I     int             `mapstructure:"i"`
	I8    int8            `mapstructure:"i8"`
	I16   int16           `mapstructure:"i16"`
	I32   int32           `mapstructure:"i32"`
	I64   int64           `mapstructure:"i64"`
	U     uint            `mapstructure:"u"`
	U8    uint8           `mapstructure:"u8"`
	U16   uint16          `mapstructure:"u16"`
	U32   uint32          `mapstructure:"u32"`
	U64   uint64          `mapstructure:"u64"`
	F32   float32         `mapstructure:"f32,omitempty"`
	F64   float64         `mapstructure:"f64"`
	D     time.Duration   `mapstructure:"d"`
	T     time.Time       `mapstructure:"t"`
	TM    time.Time       `mapstructure:"tm,unixmilli"`
	UM    codec.UnixMilli `mapstructure:"um"`
	Raw   []byte          `mapstructure:"raw"`
	P     *string         `mapstructure:"p"`
	PP    **int8          `mapstructure:"pp"`
	PT    *time.Time      `mapstructure:"pt"`
	IP    netip.Addr      `mapstructure:"ip"`
	Any   any             `mapstructure:"any"`
	Deep  deep            `mapstructure:"deep"`
	PDeep *deep           `mapstructure:"pdeep,omitempty"`
	Slice []deep          `mapstructure:"slice"`
	Array [2][]int        `mapstructure:"array"`
	Map   map[int]*deep   `mapstructure:"map"`
	Level `mapstructure:",squash"`
	Extra map[string]string `mapstructure:",remain"`
}

func optional[V any](g *rapid.Generator[V]) *rapid.Generator[*V] {
	return rapid.Custom(func(t *rapid.T) *V {
		if rapid.Bool().Draw(t, "nil") {
			return nil
		}
		v := g.Draw(t, "value")
		return &v
	})
}

func drawAllKinds(t *rapid.T) allKinds {
	raw := rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) })
	at := rapid.Custom(func(t *rapid.T) time.Time {
		sec := rapid.Int64Range(-62135596800, 253402300799-86400).Draw(t, "sec")
		zone := time.FixedZone("", 60*rapid.IntRange(0, 23*60).Draw(t, "zone"))
		return time.Unix(sec, rapid.Int64Range(0, 999999999).Draw(t, "nsec")).In(zone)
	})
	milli := rapid.Custom(func(t *rapid.T) time.Time { return time.UnixMilli(rapid.Int64().Draw(t, "ms")).UTC() })
	leaf := rapid.Custom(func(t *rapid.T) deep {
		return deep{S: rapid.String().Draw(t, "s"), M: rapid.MapOf(rapid.String(), rapid.Float64Range(-1e300, 1e300)).Draw(t, "m")}
	})
	nested := rapid.Custom(func(t *rapid.T) deep {
		d := leaf.Draw(t, "leaf")
		d.P = optional(leaf).Draw(t, "p")
		return d
	})
	v := allKinds{
		S: raw.Draw(t, "s"), B: rapid.Bool().Draw(t, "b"),
		I: rapid.Int().Draw(t, "i"), I8: rapid.Int8().Draw(t, "i8"), I16: rapid.Int16().Draw(t, "i16"), I32: rapid.Int32().Draw(t, "i32"), I64: rapid.Int64().Draw(t, "i64"),
		U: rapid.Uint().Draw(t, "u"), U8: rapid.Uint8().Draw(t, "u8"), U16: rapid.Uint16().Draw(t, "u16"), U32: rapid.Uint32().Draw(t, "u32"), U64: rapid.Uint64().Draw(t, "u64"),
		F32: rapid.Float32().Draw(t, "f32"), F64: rapid.Float64().Draw(t, "f64"), D: time.Duration(rapid.Int64().Draw(t, "d")),
		T: at.Draw(t, "t"), TM: milli.Draw(t, "tm"), UM: codec.UnixMilli{Time: milli.Draw(t, "um")},
		Raw: rapid.SliceOf(rapid.Byte()).Draw(t, "raw"), P: optional(raw).Draw(t, "p"), PP: optional(rapid.Just(new(int8))).Draw(t, "pp"), PT: optional(at).Draw(t, "pt"),
		IP:   netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ip"))),
		Deep: nested.Draw(t, "deep"), PDeep: optional(nested).Draw(t, "pdeep"), Slice: rapid.SliceOf(nested).Draw(t, "slice"),
		Array: [2][]int{rapid.SliceOf(rapid.Int()).Draw(t, "array0"), nil},
		Map:   rapid.MapOf(rapid.Int(), optional(nested)).Draw(t, "map"), Level: Level{rapid.Int16().Draw(t, "l")},
	}
	if rapid.Bool().Draw(t, "any") {
		v.Any = raw.Draw(t, "any text")
	}
	if rapid.Bool().Draw(t, "extra") {
		v.Extra = map[string]string{"x" + raw.Draw(t, "key") + "x": raw.Draw(t, "extra text"), "-": "dash"}
	}
	return v
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	c := codec.Struct[allKinds]()
	document := codec.JSON[deep]{}
	if err := check(t, c); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		want := drawAllKinds(t)
		pairs, err := c.Encode(want)
		if err != nil {
			t.Fatalf("Encode: %v", err)
		}
		got, err := c.Decode(codec.FieldsOf(pairs...))
		if err != nil {
			t.Fatalf("Decode: %v", err)
		}
		for _, at := range [][2]*time.Time{{&got.T, &want.T}, {got.PT, want.PT}} {
			if at[0] == nil || at[1] == nil {
				continue
			}
			if !at[0].Equal(*at[1]) {
				t.Fatalf("%v came back as %v", at[1], at[0])
			}
			// DeepEqual looks at the zones, which are equal but not the same.
			*at[0] = *at[1]
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		again, err := c.Encode(got)
		if err != nil || !reflect.DeepEqual(again, pairs) {
			t.Fatalf("encoded again: %q, %v", again, err)
		}

		pairs, err = document.Encode(want.Deep)
		if err != nil {
			t.Fatalf("Encode: %v", err)
		}
		if got, err := document.Decode(codec.FieldsOf(pairs...)); err != nil || !reflect.DeepEqual(got, want.Deep) {
			t.Fatalf("JSON: got %+v, %v", got, err)
		}
	})
}
