package codec_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"millrace/codec"
)

func TestJSONRefusesArraysOfAnotherLength(t *testing.T) {
	t.Parallel()
	refuses[[2]int](t, `[1]`, "has an array of 1 elements for its Go type [2]int (at byte 2)")
	refuses[[2]int](t, `[]`, "has an array of 0 elements for its Go type [2]int (at byte 2)")
	refuses[[2]int](t, `[1,2,3]`, "has an array of 3 elements for its Go type [2]int (at byte 2)")
	refuses[[0]int](t, `[1]`, "has an array of 1 elements for its Go type [0]int (at byte 2)")
	refuses[[2][2]float32](t, `[[1,2],[3]]`, "has an array of 1 elements for its Go type [2]float32 (at byte 9)")
	refuses[map[string]*[1]string](t, `{"a":["x"],"b":["x","y"]}`, "has an array of 2 elements for its Go type [1]string (at byte 17)")
	refuses[*[3]any](t, `[[],{}]`, "has an array of 2 elements for its Go type [3]interface {} (at byte 2)")
	takes[[2][2]float32](t, `[[1,2],[3,4]]`)
	takes[[0]int](t, ` [ ] `)
	takes[[]int](t, `[1,2,3]`)
	takes[netip.Addr](t, `"::1"`)
	takes[struct{ Absent [2]int }](t, `{}`)
}

func TestJSONRefusesNullElements(t *testing.T) {
	t.Parallel()
	const null = "has null as an element, which would leave a zero without a word; use a list or map of pointers (at byte "
	refuses[[]int](t, `[1,null,3]`, null+"4)")
	refuses[[1]string](t, `[null]`, null+"2)")
	refuses[map[string]bool](t, `{"a": null}`, null+"7)")
	refuses[[]order](t, `[{"id":"1"},null]`, null+"13)")
	refuses[[]time.Time](t, `[null]`, null+"2)")
	refuses[[]onlyTime](t, `[null]`, null+"2)")
	refuses[[]netip.Addr](t, `[null]`, null+"2)")
	refuses[[]byte](t, `[1,null]`, null+"4)")
	refuses[[][1]int](t, `[null]`, null+"2)")
	refuses[map[string][]json.Number](t, `{"a":[null]}`, null+"7)")
	refuses[struct{ L []int }](t, `{"l":[null]}`, null+"7)")
	takes[[]*int](t, `[1,null]`)
	takes[[]any](t, `[null,{"a":null}]`)
	takes[[][]int](t, `[null,[1]]`)
	takes[[]map[string]int](t, `[null]`)
	takes[map[string]*time.Time](t, `{"a":null}`)
	takes[[]json.RawMessage](t, `[null]`)
	takes[[]opinion](t, `[null]`)
	takes[[]readsOnly](t, `[null]`)
	takes[tree](t, `{"name":null,"unknown":[null]}`) // a member may be missing as well
	if _, err := (codec.JSON[[]codec.UnixMilli]{}).Decode(codec.FieldsOf("payload", "[null]")); err == nil {
		t.Error("null for a UnixMilli is taken")
	}
}

// opinion is null, true or false.
type opinion struct{ known, value bool }

func (o opinion) MarshalJSON() ([]byte, error) {
	if !o.known {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

func (o *opinion) UnmarshalJSON(text []byte) error {
	o.known = string(text) != "null"
	return json.Unmarshal(text, &o.value)
}

// readsOnly is what others write.
type readsOnly struct{ N int }

func (r *readsOnly) UnmarshalJSON([]byte) error { r.N = 1; return nil }

// spelled is a key that reads itself from text, in any case.
type spelled string

func (s *spelled) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("empty")
	}
	*s = spelled(strings.ToLower(string(text)))
	return nil
}

func (s spelled) MarshalText() ([]byte, error) { return []byte(s), nil }

func TestJSONRefusesTwoTextsOfOneKey(t *testing.T) {
	t.Parallel()
	const two = "has two names in one object that are one key of its map (at byte "
	refuses[map[netip.Addr]int](t, `{"::1":1,"0:0:0:0:0:0:0:1":2}`, two+"10)")
	refuses[map[spelled]int](t, `{"a":1,"b":2,"A":3}`, two+"14)")
	refuses[[]map[spelled]any](t, `[{"a":1},{"a":{},"A":3}]`, two+"18)")
	refuses[map[spelled]int](t, `{"":1}`, "has a key that its Go type codec_test.spelled refuses (at byte 2)")
	refuses[map[int]int](t, `{"1":1,"+1":2}`, "has a name twice in one object (at byte 8)")
	refuses[map[uint8]int](t, `{"1":1,"001":2}`, "has a name twice in one object (at byte 8)")
	takes[map[netip.Addr]int](t, `{"::1":1,"::2":2}`)
	takes[map[string]int](t, `{"::1":1,"0:0:0:0:0:0:0:1":2}`)
	// What cannot be read is not published.
	_, err := codec.JSON[map[spelled]int]{}.Encode(map[spelled]int{"a": 1, "A": 2})
	wantLines(t, err, `field "payload" (map[codec_test.spelled]int) would be JSON that has two names in one object that are one key of its map, which decoding refuses`)
}

func TestEncodeRefusesZonesThatJSONMoves(t *testing.T) {
	t.Parallel()
	type parts struct {
		At      time.Time `json:"at"`
		Out     time.Time `json:"-"`
		Only    onlyTime
		Own     ownMethods
		Pointer *time.Time
		Keys    map[time.Time]int
		Any     any
		Next    *parts
	}
	type event struct {
		At    time.Time  `mapstructure:"at"`
		Only  *onlyTime  `mapstructure:"only"`
		Parts parts      `mapstructure:"parts"`
		Own   ownMethods `mapstructure:"own"`
	}
	lmt := time.Date(1899, 12, 31, 23, 59, 59, 0, time.FixedZone("LMT", 1172))
	const reason = " holds a time whose zone has seconds, which RFC 3339 would drop, and move the time by them; use its UTC()"
	c := codec.Struct[event]()
	for name, p := range map[string]parts{
		"field": {At: lmt}, "embedded": {Only: onlyTime{lmt}}, "pointer": {Pointer: &lmt}, "key": {Keys: map[time.Time]int{lmt: 1}},
		"any": {Any: lmt}, "any list": {Any: []any{map[string]any{"a": lmt}}}, "any pointer": {Any: &lmt}, "recursive": {Next: &parts{Next: &parts{At: lmt}}},
	} {
		_, err := c.Encode(event{At: lmt, Parts: p})
		if err == nil || err.Error() != `field "parts" (codec_test.parts)`+reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := c.Encode(event{Only: &onlyTime{lmt}})
	wantLines(t, err, `field "only" (*codec_test.onlyTime)`+reason)
	_, err = codec.JSON[time.Time]{}.Encode(lmt)
	wantLines(t, err, `field "payload" (time.Time)`+reason)

	// The same instants, where nothing moves them.
	utc := lmt.UTC()
	in := event{At: lmt, Only: &onlyTime{utc}, Own: ownMethods{Time: lmt}, Parts: parts{At: utc, Out: lmt, Own: ownMethods{Time: lmt}, Pointer: &utc}}
	pairs, err := c.Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	out := mustDecode(t, c, codec.FieldsOf(pairs...))
	for name, at := range map[string]time.Time{"At": out.At, "Only": out.Only.Time, "Own": out.Own.Time, "Parts.At": out.Parts.At, "Parts.Own": out.Parts.Own.Time, "Parts.Pointer": *out.Parts.Pointer} {
		if !at.Equal(lmt) {
			t.Errorf("%s: %v came back as %v", name, lmt, at)
		}
	}
}

func TestDisallowUnknownFieldsReachesIntoJSON(t *testing.T) {
	t.Parallel()
	type event struct {
		ID    string          `mapstructure:"id"`
		Ship  *address        `mapstructure:"ship"`
		Trees []tree          `mapstructure:"trees"`
		Any   map[string]any  `mapstructure:"any"`
		Raw   json.RawMessage `mapstructure:"raw"`
	}
	strict := codec.Struct[event](codec.DisallowUnknownFields())
	const unknown = "holds JSON that has a name that "
	for _, r := range []struct{ name, text, want string }{
		{"ship", `{"city":"x","SECRET":1}`, `field "ship" (*codec_test.address) ` + unknown + "codec_test.address does not declare (at byte 13)"},
		{"trees", `[{"children":[{"nam":"x"}]}]`, `field "trees" ([]codec_test.tree) ` + unknown + "codec_test.tree does not declare (at byte 16)"},
	} {
		_, err := strict.Decode(codec.FieldsOf("id", "1", r.name, r.text))
		wantLines(t, err, r.want)
		if _, err := codec.Struct[event]().Decode(codec.FieldsOf("id", "1", r.name, r.text)); err != nil {
			t.Errorf("without the option: %v", err)
		}
	}
	value := mustDecode(t, strict, codec.FieldsOf("id", "1", "ship", `{"CITY":"x"}`, "trees", `[{"name":"x","by_name":{"a":{}}}]`, "any", `{"a":{"b":1}}`, "raw", `{"a":1}`))
	if want := (&address{City: "x"}); !reflect.DeepEqual(value.Ship, want) {
		t.Errorf("got %+v", value.Ship)
	}
	roundTripped(t, strict, value)
}

func TestUnixSeconds(t *testing.T) {
	t.Parallel()
	type event struct {
		At    time.Time    `mapstructure:"at,unix"`
		P     *time.Time   `mapstructure:"p,unix"`
		Typed codec.Unix   `mapstructure:"typed,unix"`
		Zero  time.Time    `mapstructure:"zero,unix,omitempty"`
		Type0 codec.Unix   `mapstructure:"type0,omitempty"`
		List  []codec.Unix `mapstructure:"list"`
	}
	c := codec.Struct[event]()
	at := time.Unix(1732750000, 0).UTC()
	value := mustDecode(t, c, codec.FieldsOf("at", "1732750000", "p", "-1", "typed", "1732750000", "list", "[1732750000,0]"))
	before := time.Unix(-1, 0).UTC()
	want := event{At: at, P: &before, Typed: codec.Unix{Time: at}, List: []codec.Unix{{Time: at}, {Time: time.Unix(0, 0).UTC()}}}
	if !reflect.DeepEqual(value, want) {
		t.Errorf("got %+v", value)
	}
	roundTripped(t, c, value)
	pairs, err := c.Encode(event{At: at.Add(999 * time.Millisecond), List: []codec.Unix{{Time: at}}})
	if got := strings.Join(pairs, " "); err != nil || got != "at 1732750000 typed -62135596800 list [1732750000]" {
		t.Errorf("got %s, %v", got, err)
	}
	for _, text := range []string{"", "1.5", "1e3", "2024-02-03T04:05:06Z", " 1", "99999999999999999999"} {
		for _, name := range []string{"at", "typed", "p"} {
			_, err := c.Decode(codec.FieldsOf(name, text))
			want := "is not a decimal integer of Unix seconds"
			if text == "" {
				want = "is blank"
			}
			if errs := fieldErrors(t, err); errs[0].Field != name || errs[0].Reason != want {
				t.Errorf("%s %q: %v", name, text, err)
			}
		}
		if _, err := c.Decode(codec.FieldsOf("list", `["`+text+`"]`)); err == nil {
			t.Errorf("%q in JSON is taken", text)
		}
	}
	type bad struct {
		Both  time.Time       `mapstructure:"both,unix,unixmilli"`
		Kind  int64           `mapstructure:"kind,unix"`
		Cross codec.UnixMilli `mapstructure:"cross,unix"`
		Other codec.Unix      `mapstructure:"other,unixmilli"`
	}
	wantLines(t, check(t, codec.Struct[bad]()),
		"codec_test.bad.Both: unix and unixmilli do not go together; remove one",
		"codec_test.bad.Kind: the option unix is for time.Time, not for int64; remove it",
		"codec_test.bad.Cross: the option unix is for time.Time, not for codec.UnixMilli; remove it",
		"codec_test.bad.Other: the option unixmilli is for time.Time, not for codec.Unix; remove it")
}
