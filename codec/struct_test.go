package codec_test

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"

	"millrace/codec"
)

type base struct {
	ID  string `mapstructure:"id" validate:"required"`
	Seq int    `mapstructure:"seq"`
}

type address struct {
	City string `json:"city" validate:"required"`
	Zip  int    `json:"zip"`
}

func TestDecodeSquash(t *testing.T) {
	t.Parallel()
	type Middle struct {
		base `mapstructure:",squash"`
		Kind string `mapstructure:"kind"`
	}
	type event struct {
		First  string `mapstructure:"first"`
		Middle `mapstructure:",squash"`
		Last   int `mapstructure:"last"`
	}
	c := codec.Struct[event]()
	got := mustDecode(t, c, codec.FieldsOf("first", "f", "id", "i", "seq", "2", "kind", "k", "last", "3"))
	if want := (event{First: "f", Middle: Middle{base{"i", 2}, "k"}, Last: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	pairs, err := c.Encode(got)
	if want := []string{"first", "f", "id", "i", "seq", "2", "kind", "k", "last", "3"}; err != nil || !reflect.DeepEqual(pairs, want) {
		t.Errorf("Encode: %q, %v; want %q", pairs, err, want)
	}
	_, err = c.Decode(codec.FieldsOf("last", "x", "seq", "y"))
	wantLines(t, err,
		`field "id" (string) fails "required"`,
		`field "seq" (int) is not a decimal integer`,
		`field "last" (int) is not a decimal integer`)
}

func TestDecodeRemain(t *testing.T) {
	t.Parallel()
	type anyEvent struct {
		ID    string         `mapstructure:"id"`
		Skip  string         `mapstructure:"-"`
		Extra map[string]any `mapstructure:",remain"`
	}
	c := codec.Struct[anyEvent](codec.DisallowUnknownFields())
	got := mustDecode(t, c, codec.FieldsOf("id", "1", "ID", "2", "-", "3", "", "4", "Skip", "5", "\xff", "6"))
	want := anyEvent{ID: "1", Extra: map[string]any{"ID": "2", "-": "3", "": "4", "Skip": "5", "\xff": "6"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	pairs, err := c.Encode(got)
	if want := []string{"id", "1", "", "4", "-", "3", "ID", "2", "Skip", "5", "\xff", "6"}; err != nil || !reflect.DeepEqual(pairs, want) {
		t.Errorf("Encode: %q, %v; want %q", pairs, err, want)
	}
	if only := mustDecode(t, c, codec.FieldsOf("-", "x")); only.Extra["-"] != "x" || only.Skip != "" {
		t.Errorf("got %+v", only)
	}

	type stringEvent struct {
		ID    string            `mapstructure:"id"`
		Extra map[string]string `mapstructure:",remain"`
	}
	s := codec.Struct[stringEvent]()
	if got := mustDecode(t, s, codec.FieldsOf("id", "1")); got.Extra != nil {
		t.Errorf("nothing remains, but Extra is %v", got.Extra)
	}
	if got := mustDecode(t, s, codec.FieldsOf("x", "true")); got.Extra["x"] != "true" {
		t.Errorf("Extra is %v", got.Extra)
	}
	_, err = s.Encode(stringEvent{Extra: map[string]string{"id": "SECRET"}})
	wantLines(t, err, `field "id" (string) is in the map Extra too; remove it there`)
	_, err = c.Encode(anyEvent{Extra: map[string]any{"x": nil, "y": time.Second}})
	wantLines(t, err,
		`field "x" holds nil; a stream field holds text`,
		`field "y" holds a Go value of type time.Duration; a stream field holds text`)
}

func TestDecodeIgnoresDash(t *testing.T) {
	t.Parallel()
	type event struct {
		ID     string   `mapstructure:"id"`
		Secret string   `mapstructure:"-"`
		Done   chan int `mapstructure:"-"`
	}
	c := codec.Struct[event]()
	got := mustDecode(t, c, codec.FieldsOf("id", "1", "-", "leak", "Secret", "leak", "Done", "x"))
	if got.Secret != "" {
		t.Errorf("the ignored field holds %q", got.Secret)
	}
	got.Secret = "kept"
	if pairs, err := c.Encode(got); err != nil || len(pairs) != 2 {
		t.Errorf("Encode: %q, %v", pairs, err)
	}
}

func TestDecodeMatchesNamesExactly(t *testing.T) {
	t.Parallel()
	type twins struct {
		Upper string `mapstructure:"ID"`
		Mixed string `mapstructure:"Id"`
		Lower string `mapstructure:"id"`
	}
	type single struct {
		UserID string
		Other  string `mapstructure:"other"`
	}
	tc, sc := codec.Struct[twins](), codec.Struct[single]()
	for range 400 {
		if got := mustDecode(t, tc, codec.FieldsOf("id", "l", "Id", "m", "ID", "u", "iD", "x")); got != (twins{"u", "m", "l"}) {
			t.Fatalf("got %+v", got)
		}
		if got := mustDecode(t, tc, codec.FieldsOf("iD", "x", "Id", "m")); got != (twins{Mixed: "m"}) {
			t.Fatalf("got %+v", got)
		}
		if got := mustDecode(t, sc, codec.FieldsOf("userid", "evil", "USERID", "evil", "other", "o")); got.UserID != "" {
			t.Fatalf("got %+v", got)
		}
	}
}

func TestDecodeRefusesForeignEntries(t *testing.T) {
	t.Parallel()
	type place struct{ City, Zip string }
	c := codec.Struct[place]()
	for _, fields := range []codec.Fields{{}, codec.FieldsOf("order", "SECRET"), codec.FieldsOf("city", "SECRET")} {
		_, err := c.Decode(fields)
		wantLines(t, err, "none of the entry's fields belongs to codec_test.place; check that this is the stream of that type and that the names in its tags match exactly")
	}
}

func TestDecodeUnknownFields(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 70)
	fields := codec.FieldsOf("id", "1", "seq", "x", "z", "SECRET", "a\n", "SECRET", long, "SECRET")
	if _, err := codec.Struct[base]().Decode(codec.FieldsOf("id", "1", "z", "x")); err != nil {
		t.Errorf("unknown fields are not ignored: %v", err)
	}
	for range 20 {
		_, err := codec.Struct[base](codec.DisallowUnknownFields()).Decode(fields)
		wantLines(t, err,
			`field "seq" (int) is not a decimal integer`,
			`field "a\n" is not declared by codec_test.base`,
			`field "`+long[:64]+`" is not declared by codec_test.base`,
			`field "z" is not declared by codec_test.base`)
	}
	// A struct in a struct is decoded another way.
	type around struct {
		Base base `mapstructure:",squash"`
	}
	if _, err := codec.Struct[around]().Decode(codec.FieldsOf("id", "1", "z", "x")); err != nil {
		t.Errorf("unknown fields are not ignored: %v", err)
	}
	_, err := codec.Struct[around](codec.DisallowUnknownFields()).Decode(codec.FieldsOf("id", "1", "seq", "1", "z", "SECRET"))
	wantLines(t, err, `field "z" is not declared by codec_test.around`)
}

func TestDecodeCollectsAllErrorsInOrder(t *testing.T) {
	t.Parallel()
	type event struct {
		E     string             `mapstructure:"e" validate:"required,max=3"`
		D     int                `mapstructure:"d" validate:"min=1"`
		C     *time.Time         `mapstructure:"c" validate:"required"`
		B     []address          `mapstructure:"b" validate:"dive"`
		A     map[string]address `mapstructure:"a" validate:"dive,keys,max=4,endkeys,required"`
		Local string             `mapstructure:"-" validate:"required"`
		Kind  string             `mapstructure:"kind" validate:"oneof=x y|eq=z"`
	}
	c := codec.Struct[event]()
	for range 50 {
		_, err := c.Decode(codec.FieldsOf(
			"a", `{"alice@example.com":{"city":""}}`, "b", `[{"city":"ok"},{"zip":3}]`, "c", "", "d", "x", "e", "long", "kind", "q",
		))
		wantLines(t, err,
			`field "e" (string) fails "max=3"`,
			`field "d" (int) is not a decimal integer`,
			`field "c" (*time.Time) is blank`,
			`field "b[1].city" (string) fails "required"`,
			`field "a[...]" (string) fails "max=4"`,
			`field "a[...]" (codec_test.address) fails "required"`,
			`field "kind" (string) fails "oneof=x y|eq=z"`,
			`field "Local" (string) fails "required"`)
	}
}

func TestDecodeReturnsZeroOnError(t *testing.T) {
	t.Parallel()
	got, err := codec.Struct[base]().Decode(codec.FieldsOf("id", "1", "seq", "x"))
	if err == nil || got != (base{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDecodeNestedJSON(t *testing.T) {
	t.Parallel()
	type event struct {
		Address address            `mapstructure:"address"`
		Pointer *address           `mapstructure:"pointer"`
		Tags    []string           `mapstructure:"tags"`
		Rows    [][1][]int         `mapstructure:"rows"`
		Pair    [2][]int           `mapstructure:"pair"`
		Any     [1]any             `mapstructure:"any"`
		Counts  map[string]float64 `mapstructure:"counts"`
		Times   []time.Time        `mapstructure:"times"`
		IP      netip.Addr         `mapstructure:"ip"`
		Big     **big.Int          `mapstructure:"big"`
	}
	c := codec.Struct[event]()
	fields := codec.FieldsOf(
		"address", `{"city":"Bern","zip":3000}`, "pointer", ` {"city":"Rome"} `, "tags", `["a,b","c"]`, "pair", `[[1],[2,3]]`, "rows", `[[[1]],[[2]]]`, "any", `[{"x":[1]}]`,
		"counts", `{"a":1.5}`, "times", `["2024-02-03T04:05:06Z"]`, "ip", "::1", "big", "123456789012345678901234567890",
	)
	got := mustDecode(t, c, fields)
	n, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	want := event{
		Address: address{"Bern", 3000}, Pointer: &address{City: "Rome"}, Tags: []string{"a,b", "c"}, Pair: [2][]int{{1}, {2, 3}}, Rows: [][1][]int{{{1}}, {{2}}},
		Any: [1]any{map[string]any{"x": []any{1.0}}}, Counts: map[string]float64{"a": 1.5}, Times: []time.Time{time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)},
		IP: netip.MustParseAddr("::1"), Big: &n,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}

	_, err := c.Decode(codec.FieldsOf(
		"address", `{"city":"x","zip":"SECRET"}`, "pointer", "null", "tags", "[\"\xff\"]", "pair", `[[1],[2]] SECRET`, "any", "", "counts", `{"SECRET":{}}`,
		"times", `["SECRET"]`, "ip", "SECRET", "big", "SECRET",
	))
	const null = "is JSON null, which would leave it empty without a word; leave the field out instead"
	wantLines(t, err,
		`field "address" (codec_test.address) holds a JSON string at "zip" that does not fit its Go type int (at byte 26)`,
		`field "pointer" (*codec_test.address) `+null,
		`field "tags" ([]string) is JSON with bytes that are not UTF-8`,
		`field "pair" ([2][]int) is not valid JSON (at byte 11)`,
		`field "any" ([1]interface {}) is blank`,
		`field "counts" (map[string]float64) holds a JSON object that does not fit its Go type float64 (at byte 11)`,
		`field "times" ([]time.Time) holds JSON with a part that its Go type refuses`,
		`field "ip" (netip.Addr) is refused by its UnmarshalText`,
		`field "big" (**big.Int) is refused by its UnmarshalText`)
}

// Kinds that mapstructure cannot place at all, made readable by their methods.
type (
	chanText    chan string
	complexText complex128
	sliceText   []string
	mapText     map[string]string
	arrayText   [2]any
	onlyIn      struct{ s string }
	panicText   struct{ S string }
	panicJSON   struct{ S string }
)

func (c *chanText) UnmarshalText(b []byte) error {
	*c = make(chan string, 1)
	*c <- string(b)
	return nil
}
func (c *complexText) UnmarshalText(b []byte) error {
	*c = complexText(complex(float64(len(b)), 0))
	return nil
}
func (s *sliceText) UnmarshalText(b []byte) error { *s = strings.Split(string(b), ","); return nil }
func (s sliceText) MarshalText() ([]byte, error)  { return []byte(strings.Join(s, ",")), nil }
func (m *mapText) UnmarshalText(b []byte) error {
	if len(b) > 0 {
		*m = mapText{string(b): "x"}
	}
	return nil
}
func (a *arrayText) UnmarshalText(b []byte) error { a[0] = []string{string(b)}; return nil }
func (o *onlyIn) UnmarshalText(b []byte) error    { o.s = string(b); return nil }
func (*panicText) UnmarshalText(b []byte) error   { panic("SECRET " + string(b)) }
func (p panicText) MarshalText() ([]byte, error)  { panic("SECRET " + p.S) }
func (*panicJSON) UnmarshalJSON(b []byte) error   { panic("SECRET " + string(b)) }
func (p panicJSON) MarshalJSON() ([]byte, error)  { panic("SECRET " + p.S) }

func TestDecodeTextMethodsOfAnyKind(t *testing.T) {
	t.Parallel()
	type event struct {
		Chan    *chanText   `mapstructure:"chan"`
		Complex complexText `mapstructure:"complex"`
		Slice   sliceText   `mapstructure:"slice"`
		Map     mapText     `mapstructure:"map"`
		Nil     mapText     `mapstructure:"nil"`
		Array   arrayText   `mapstructure:"array"`
		Only    onlyIn      `mapstructure:"only"`
	}
	c := codec.Struct[event]()
	got := mustDecode(t, c, codec.FieldsOf("chan", "c", "complex", "abc", "slice", "a,b", "map", "k", "nil", "", "array", "e", "only", "o"))
	if s := <-*got.Chan; s != "c" || got.Complex != 3 || got.Only.s != "o" || got.Nil != nil {
		t.Errorf("got %q and %+v", s, got)
	}
	if !reflect.DeepEqual(got.Slice, sliceText{"a", "b"}) || !reflect.DeepEqual(got.Map, mapText{"k": "x"}) || !reflect.DeepEqual(got.Array, arrayText{[]string{"e"}}) {
		t.Errorf("got %+v", got)
	}
	_, err := codec.Struct[one[onlyIn]]().Encode(one[onlyIn]{})
	wantLines(t, err, `field "v" (codec_test.onlyIn) cannot be encoded: codec_test.onlyIn has UnmarshalText; give it MarshalText too`)
}

func TestPanicsOfUserCodeAreErrors(t *testing.T) {
	t.Parallel()
	type event struct {
		Text  panicText         `mapstructure:"text"`
		JSON  *panicJSON        `mapstructure:"json"`
		Deep  []panicText       `mapstructure:"deep"`
		Check string            `mapstructure:"check" validate:"angry"`
		Map   map[string]string `mapstructure:"map" validate:"dive,angry"`
	}
	angry := codec.WithValidation("angry", func(fl validator.FieldLevel) bool {
		if fl.Field().String() != "" {
			panic("SECRET")
		}
		return true
	})
	c := codec.Struct[event](angry)
	if err := check(t, c); err != nil {
		t.Fatalf("Check: %v", err)
	}
	_, err := c.Decode(codec.FieldsOf("text", "SECRET", "json", `{"S":"SECRET"}`, "deep", `["SECRET"]`, "check", "SECRET"))
	wantLines(t, err,
		`field "text" (codec_test.panicText) makes its UnmarshalText panic`,
		`field "json" (*codec_test.panicJSON) holds JSON that makes a method of its Go type panic`,
		`field "deep" ([]codec_test.panicText) holds JSON that makes a method of its Go type panic`,
		`field "check" (string) makes the function of the validate tag "angry" panic`)
	_, err = c.Decode(codec.FieldsOf("map", `{"SECRET":"SECRET"}`))
	wantLines(t, err, `field "map" (map[string]string) makes the function of the validate tag "angry" panic`)

	// The zero that a failed conversion leaves is nobody's value.
	type number struct {
		N int `mapstructure:"n" validate:"never"`
	}
	never := codec.WithValidation("never", func(validator.FieldLevel) bool { panic("SECRET") })
	_, err = codec.Struct[number](never).Decode(codec.FieldsOf("n", "x"))
	wantLines(t, err, `field "n" (int) is not a decimal integer`)

	_, err = c.Encode(event{Text: panicText{"SECRET"}, JSON: &panicJSON{"SECRET"}, Deep: []panicText{{"SECRET"}}})
	wantLines(t, err,
		`field "text" (codec_test.panicText) makes its MarshalText panic`,
		`field "json" (*codec_test.panicJSON) makes a method of its Go type panic when it is put into JSON`,
		`field "deep" ([]codec_test.panicText) makes a method of its Go type panic when it is put into JSON`)

	// A tag that goes with the declared type, any, but not with the value.
	type loose struct {
		V any `mapstructure:"v" validate:"port"`
	}
	_, err = codec.Struct[loose]().Decode(codec.FieldsOf("v", "SECRET"))
	wantLines(t, err, "a validate tag of codec_test.loose makes validator panic; correct the tag or the methods of the type that it calls")
}

func TestWithValidation(t *testing.T) {
	t.Parallel()
	type event struct {
		N    int               `mapstructure:"n" validate:"even"`
		Name string            `mapstructure:"name" validate:"notblank"`
		Any  struct{ S []int } `mapstructure:"any" validate:"notblank"`
	}
	even := codec.WithValidation("even", func(fl validator.FieldLevel) bool { return fl.Field().Int()%2 == 0 })
	c := codec.Struct[event](even, nil)
	_, err := c.Decode(codec.FieldsOf("n", "3", "name", " \t"))
	wantLines(t, err,
		`field "n" (int) fails "even"`,
		`field "name" (string) fails "notblank"`,
		`field "any" (struct { S []int }) fails "notblank"`)
	mustDecode(t, c, codec.FieldsOf("n", "4", "name", "x", "any", `{"S":[1]}`))
	if err := check(t, codec.Struct[event]()); err == nil || !strings.Contains(err.Error(), `"even" is undefined`) {
		t.Errorf("the tag leaked into another codec: %v", err)
	}
}

func TestDecodeConcurrently(t *testing.T) {
	t.Parallel()
	type event struct {
		ID    string            `mapstructure:"id" validate:"required"`
		N     *int              `mapstructure:"n"`
		Tags  []string          `mapstructure:"tags"`
		Extra map[string]string `mapstructure:",remain"`
	}
	c := codec.Struct[event]()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				id := fmt.Sprint(g, "-", i)
				got, err := c.Decode(codec.FieldsOf("id", id, "n", strconv.Itoa(i), "tags", `["`+id+`"]`, "more", id))
				if err != nil || got.ID != id || *got.N != i || got.Tags[0] != id || got.Extra["more"] != id {
					t.Errorf("got %+v, %v", got, err)
				}
				if _, err := c.Encode(got); err != nil {
					t.Error(err)
				}
				if _, err := c.Decode(codec.FieldsOf("n", "x")); err == nil {
					t.Error("no error")
				}
			}
		})
	}
	wg.Wait()
}

func TestGenericTypeNames(t *testing.T) {
	t.Parallel()
	type inner struct {
		V address `mapstructure:"v"`
	}
	_, err := codec.Struct[one[address]]().Decode(codec.FieldsOf("v", "{}"))
	wantLines(t, err, `field "v.city" (string) fails "required"`)
	_, err = codec.JSON[one[inner]]{}.Decode(codec.FieldsOf("payload", "{}"))
	wantLines(t, err, `field "payload.V.V.city" (string) fails "required"`)
	if !errors.As(err, new(*codec.FieldError)) {
		t.Error("no *FieldError")
	}
}

func TestErrorTextIsBounded(t *testing.T) {
	t.Parallel()
	type node struct {
		Name string `json:"name" validate:"required"`
		Next *node  `json:"next"`
	}
	type event struct {
		Many []address `mapstructure:"many" validate:"dive"`
		Deep *node     `mapstructure:"deep"`
	}
	c := codec.Struct[event]()
	_, err := c.Decode(codec.FieldsOf("many", "["+strings.Repeat("{},", 999)+"{}]"))
	if errs := fieldErrors(t, err); len(errs) != 1000 || !strings.HasSuffix(err.Error(), "; and 950 more") {
		t.Errorf("%d errors: %s", len(errs), err)
	}
	for _, end := range []string{"{}", `{"name":[]}`} {
		_, err = c.Decode(codec.FieldsOf("deep", strings.Repeat(`{"next":`, 500)+end+strings.Repeat("}", 500)))
		if errs := fieldErrors(t, err); len(errs[len(errs)-1].Error()) > 500 {
			t.Errorf("an error has %d bytes", len(errs[len(errs)-1].Error()))
		}
	}
}
