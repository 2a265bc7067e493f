package codec_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"millrace/codec"
)

type packedParcel struct {
	ID     string        `mapstructure:"id" validate:"required,max=500"`
	Weight *float32      `mapstructure:"weight" validate:"omitempty,gt=0"`
	Count  uint16        `mapstructure:"count,omitempty"`
	At     time.Time     `mapstructure:"at,unixmilli"`
	Wait   time.Duration `mapstructure:"wait"`
	Raw    []byte        `mapstructure:"raw"`
	Parts  []int         `mapstructure:"parts"`
	Note   string        `mapstructure:"note,trim"`
}

const parcelName = "packed:id,weight,count,at,wait,raw,parts,note"

func newParcel() packedParcel {
	weight := float32(1.5)
	return packedParcel{
		ID: strings.Repeat("i", 200), Weight: &weight, Count: 7, At: time.UnixMilli(1700000000000).UTC(), Wait: time.Minute,
		Raw: []byte("\x00\xff,"), Parts: []int{1, 2}, Note: "",
	}
}

func TestPackedLayout(t *testing.T) {
	t.Parallel()
	full := newParcel()
	for _, r := range []struct {
		value packedParcel
		text  string
	}{
		{full, "\x01\xc9\x01" + full.ID + "\x041.5" + "\x027" + "\x0e1700000000000" + "\x051m0s" + "\x04\x00\xff," + "\x06[1,2]" + "\x01"},
		{packedParcel{ID: "1", At: time.UnixMilli(0)}, "\x01\x021\x00\x00\x020\x030s\x00\x00\x01"},
		{packedParcel{ID: strings.Repeat("x", 126), At: time.UnixMilli(0)}, "\x01\x7f" + strings.Repeat("x", 126) + "\x00\x00\x020\x030s\x00\x00\x01"},
		{packedParcel{ID: strings.Repeat("x", 127), At: time.UnixMilli(0)}, "\x01\x80\x01" + strings.Repeat("x", 127) + "\x00\x00\x020\x030s\x00\x00\x01"},
		{packedParcel{ID: "1", At: time.UnixMilli(0), Raw: make([]byte, 126)}, "\x01\x021\x00\x00\x020\x030s\x7f" + strings.Repeat("\x00", 126) + "\x00\x01"},
		{packedParcel{ID: "1", At: time.UnixMilli(0), Raw: make([]byte, 127)}, "\x01\x021\x00\x00\x020\x030s\x80\x01" + strings.Repeat("\x00", 127) + "\x00\x01"},
		{packedParcel{ID: "1", At: time.UnixMilli(0), Raw: make([]byte, 20_000)}, "\x01\x021\x00\x00\x020\x030s\xa1\x9c\x01" + strings.Repeat("\x00", 20_000) + "\x00\x01"},
	} {
		pairs, err := codec.Packed[packedParcel]().Encode(r.value)
		if err != nil {
			t.Fatal(err)
		}
		if len(pairs) != 2 || pairs[0] != parcelName || pairs[1] != r.text {
			t.Errorf("got %q, want %q", pairs, r.text)
		}
		fields := codec.FieldsOf(pairs...)
		if !codec.IsPackedOwn(codec.Packed[packedParcel](), fields) {
			t.Errorf("%q is not known at once", pairs)
		}
		got := mustDecode(t, codec.Packed[packedParcel](), fields)
		want := r.value
		want.At = want.At.UTC()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestPackedIsStruct: another form of the same fields.
func TestPackedIsStruct(t *testing.T) {
	t.Parallel()
	value := newParcel()
	packed, err := codec.Packed[packedParcel]().Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := codec.Struct[packedParcel]().Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	header := []string{"traceparent", "00-1-2-01"}
	unpacked, err := codec.Unpack(codec.FieldsOf(append(packed, header...)...))
	if err != nil || !reflect.DeepEqual(unpacked, codec.FieldsOf(append(plain, header...)...)) {
		t.Errorf("unpacked: %v, %v, want %q", unpacked, err, plain)
	}
	again, err := codec.Unpack(unpacked)
	if err != nil || !reflect.DeepEqual(again, unpacked) {
		t.Errorf("unpacked twice: %v, %v", again, err)
	}
	if got := mustDecode(t, codec.Packed[packedParcel](), codec.FieldsOf(plain...)); !reflect.DeepEqual(got, value) {
		t.Errorf("plain fields are decoded as %+v", got)
	}
	bad := codec.FieldsOf("id", "", "count", "SECRET", "parts", "[", "weight", "-1")
	_, want := codec.Struct[packedParcel]().Decode(bad)
	_, err = codec.Packed[packedParcel]().Decode(packedOf(bad, "id", "weight", "count", "at", "wait", "raw", "parts", "note"))
	wantLines(t, err, strings.Split(want.Error(), "; ")...)
	_, want = codec.Struct[packedParcel]().Encode(packedParcel{})
	_, err = codec.Packed[packedParcel]().Encode(packedParcel{})
	wantLines(t, err, strings.Split(want.Error(), "; ")...)
	type floats struct {
		A float64 `mapstructure:"a"`
		B *string `mapstructure:"b"`
	}
	_, err = codec.Packed[floats]().Encode(floats{A: math.NaN()})
	wantLines(t, err, `field "a" (float64) is not finite`)
	type hollow struct {
		B *string `mapstructure:"b"`
	}
	_, want = codec.Struct[hollow]().Encode(hollow{})
	_, err = codec.Packed[hollow]().Encode(hollow{})
	wantLines(t, err, want.Error())
	for _, names := range []string{"b", "b,c"} {
		_, err = codec.Packed[hollow]().Decode(codec.FieldsOf("packed:"+names, "\x01\x00\x00"[:len(names)/2+2]))
		if err == nil || !strings.HasPrefix(err.Error(), "none of the entry's fields belongs to codec_test.hollow") {
			t.Errorf("got %v", err)
		}
	}
}

// packedOf packs some of the fields by hand.
func packedOf(fields codec.Fields, names ...string) codec.Fields {
	text := []byte{1}
	for _, name := range names {
		value, ok := fields.Get(name)
		switch {
		case !ok:
			text = append(text, 0)
		case len(value) < 127:
			text = append(append(text, byte(len(value)+1)), value...)
		default:
			panic("a long value")
		}
	}
	return codec.FieldsOf("packed:"+strings.Join(names, ","), string(text))
}

func TestPackedChanges(t *testing.T) {
	t.Parallel()
	type before struct {
		ID  string `mapstructure:"id"`
		Old int    `mapstructure:"old"`
		N   int    `mapstructure:"n"`
	}
	type after struct {
		New *int   `mapstructure:"new"`
		N   int    `mapstructure:"n"`
		ID  string `mapstructure:"id"`
	}
	pairs, err := codec.Packed[before]().Encode(before{"x", 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	fields := codec.FieldsOf(pairs...)
	if got := mustDecode(t, codec.Packed[after](), fields); got != (after{nil, 2, "x"}) {
		t.Errorf("got %+v", got)
	}
	_, err = codec.Packed[after](codec.DisallowUnknownFields()).Decode(fields)
	wantLines(t, err, `field "old" is not declared by codec_test.after`)

	beside := codec.FieldsOf(append([]string{"n", "3", "x", "y"}, pairs...)...)
	if got := mustDecode(t, codec.Packed[before](), beside); got != (before{"x", 1, 3}) {
		t.Errorf("beside the packed field: %+v", got)
	}
	_, err = codec.Packed[before](codec.DisallowUnknownFields()).Decode(beside)
	wantLines(t, err, `field "x" is not declared by codec_test.before`)
	traced := codec.FieldsOf(append([]string{"traceparent", "x"}, pairs...)...)
	if got := mustDecode(t, codec.Packed[before](codec.DisallowUnknownFields()), traced); got != (before{"x", 1, 2}) {
		t.Errorf("with a header: %+v", got)
	}
	for _, r := range []struct {
		fields codec.Fields
		name   string
		want   string
		found  bool
	}{
		{fields, "old", "1", true}, {fields, "id", "x", true}, {fields, "new", "", false}, {beside, "n", "3", true}, {traced, "traceparent", "x", true},
		{codec.FieldsOf("packed:a,b", "\x01\x00\x05"), "b", "", false}, {codec.FieldsOf("packed:a", "\x02\x01"), "a", "", false}, {codec.FieldsOf("a", "1"), "b", "", false},
		{codec.FieldsOf("packed:a", "\x01\x01", "packed:b", "\x01\x01"), "b", "", false},
	} {
		if got, found := codec.Lookup(r.fields, r.name); got != r.want || found != r.found {
			t.Errorf("%q of %v: %q, %t", r.name, r.fields, got, found)
		}
	}
}

func TestPackedRefuses(t *testing.T) {
	t.Parallel()
	type pair struct {
		A string `mapstructure:"a"`
		B int    `mapstructure:"b"`
	}
	const cut = ` is cut off in the packed field packed:a,b`
	for _, r := range []struct{ name, text, want string }{
		{"packed:a,b", "", `field "packed:a,b" is blank`},
		{"packed:a,b", "\x02\x01\x01", `field "packed:a,b" has a version of the packed layout that this program does not know; update it, or correct the producer`},
		{"packed:a,b", "SECRET", `field "packed:a,b" has a version of the packed layout that this program does not know; update it, or correct the producer`},
		{"packed:a,b", "\x01", `field "a" (string)` + cut},
		{"packed:a,b", "\x01\x03x", `field "a" (string)` + cut},
		{"packed:a,b", "\x01\x02x", `field "b" (int)` + cut},
		{"packed:a,b", "\x01\x02x\x031", `field "b" (int)` + cut},
		{"packed:a,b", "\x01\x02x\xff\xff", `field "b" (int)` + cut},
		{"packed:a,b", "\x01\x02x\xff\xff\xff\xff\xff\xff\xff\xff\x7f1", `field "b" (int)` + cut},
		{"packed:a,b", "\x01\x02x\xff\xff\xff\xff\xff\xff\xff\xff\xff\x011", `field "b" (int)` + cut},
		{"packed:a,b", "\x01\x02x\x021\x00", `field "packed:a,b" has bytes behind its last value`},
		{"packed:a,b,c", "\x01\x02x\x021\x05x", `field "c" is cut off in the packed field packed:a,b,c`},
		{"packed:a,b,a", "\x01\x02x\x021\x02y", `field "a" (string) is packed twice`},
		{"packed:a,b", "\x01\x02x\x07SECRET", `field "b" (int) is not a decimal integer`},
		{"packed:a,b", "\x01\x02x\x01", `field "b" (int) is blank`},
	} {
		_, err := codec.Packed[pair]().Decode(codec.FieldsOf(r.name, r.text))
		wantLines(t, err, r.want)
	}
	_, err := codec.Packed[pair]().Decode(codec.FieldsOf("packed:a,b", "\x01\x02x\x021", "packed:a,b", "\x01\x02x\x021"))
	wantLines(t, err, `field "packed:a,b" is the second packed field of the entry, which can have one`)
	_, err = codec.Unpack(codec.FieldsOf("packed:a", "\x01\x02x", "packed:b", "\x01\x02x"))
	wantLines(t, err, `field "packed:b" is the second packed field of the entry, which can have one`)
	_, err = codec.Packed[pair]().Decode(codec.FieldsOf("x", "y"))
	if err == nil || !strings.HasPrefix(err.Error(), "none of the entry's fields belongs to codec_test.pair") {
		t.Errorf("got %v", err)
	}
}

func TestPackedCheck(t *testing.T) {
	t.Parallel()
	if err := check(t, codec.Packed[packedParcel]()); err != nil {
		t.Error(err)
	}
	type remains struct {
		ID   string            `mapstructure:"id"`
		Rest map[string]string `mapstructure:",remain"`
	}
	const want = "codec_test.remains.Rest: a remain map has no place in a packed field, whose names are those of the type; remove it, or use Struct"
	c := codec.Packed[remains]()
	wantLines(t, check(t, c), want)
	_, err := c.Encode(remains{ID: "x"})
	wantLines(t, err, want)
	_, err = c.Decode(codec.FieldsOf("id", "x"))
	wantLines(t, err, want)
	wantLines(t, check(t, codec.Packed[int]()), check(t, codec.Struct[int]()).Error())
}

type packedBase struct {
	Base string `mapstructure:"base"`
	Any  any    `mapstructure:"any"`
}

type packedSquash struct {
	packedBase `mapstructure:",squash"`
	N          *int16 `mapstructure:"n"`
}

// FuzzPacked reads any field as a packed one. It must not panic, show no value, and
// say the same as the slow way and as Struct of what is unpacked.
func FuzzPacked(f *testing.F) {
	pairs, err := codec.Packed[packedParcel]().Encode(newParcel())
	if err != nil {
		f.Fatal(err)
	}
	for i, text := range []string{pairs[1], "", "\x01", "\x01\x021\x00\x00\x020\x030s\x00\x00\x01", "\x01\x021\x00\x00\x020\x030s\x00\x00\x01\x00", "\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "\x01\x021\x021"} {
		for j, name := range []string{parcelName, "packed:", "packed:n,base,any", "packed:id,at", "id"} {
			f.Add(name, text, uint8(10*i+j))
		}
	}
	f.Fuzz(func(t *testing.T, name, text string, at uint8) {
		if at%2 == 0 {
			name = parcelName
		}
		fields := codec.FieldsOf([]string{name, text, "traceparent", "x", "wait", "1s"}[:2+at%3*2]...)
		packedIsStruct[packedParcel](t, fields, func(v *packedParcel) { v.At = v.At.UTC() })
		packedIsStruct[packedSquash](t, fields, func(*packedSquash) {})
		wantNoCanary(t, codec.Packed[packedParcel](), name, text, int(at))
	})
}

func packedIsStruct[T any](t *testing.T, fields codec.Fields, normal func(*T)) {
	t.Helper()
	c, slow := codec.Packed[T](), codec.PackedSlowly[T]()
	got, err := c.Decode(fields)
	want, slowErr := slow.Decode(fields)
	if (err == nil) != (slowErr == nil) || err != nil && err.Error() != slowErr.Error() || !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %+v, %v, slowly: %+v, %v", fields, got, err, want, slowErr)
	}
	unpacked, unpackErr := codec.Unpack(fields)
	plain, plainErr := codec.Struct[T]().Decode(unpacked)
	if unpackErr == nil && ((err == nil) != (plainErr == nil) || !reflect.DeepEqual(got, plain)) || unpackErr != nil && err == nil {
		t.Fatalf("%q: %+v, %v, unpacked: %v, %+v, %v", fields, got, err, unpackErr, plain, plainErr)
	}
	for name := range unpacked.All() {
		value, _ := unpacked.Get(name)
		if found, ok := codec.Lookup(fields, name); unpackErr == nil && (!ok || found != value) {
			t.Fatalf("%q of %q: %q, %t, want %q", name, fields, found, ok, value)
		}
	}
	if err != nil {
		return
	}
	pairs, err := c.Encode(got)
	if err != nil {
		t.Fatalf("%q was decoded, but not encoded: %v", fields, err)
	}
	again, err := c.Decode(codec.FieldsOf(pairs...))
	if err != nil {
		t.Fatalf("%q was encoded as %q, but not decoded: %v", fields, pairs, err)
	}
	normal(&got)
	normal(&again)
	if !reflect.DeepEqual(got, again) {
		t.Fatalf("%q: %+v came back as %+v", fields, got, again)
	}
	if plainPairs, err := codec.Struct[T]().Encode(again); err != nil {
		t.Fatal(err)
	} else if unpacked, err := codec.Unpack(codec.FieldsOf(pairs...)); err != nil || !reflect.DeepEqual(unpacked, codec.FieldsOf(plainPairs...)) {
		t.Fatalf("%q is packed as %q, %v", plainPairs, unpacked, err)
	}
}
