package codec_test

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"millrace/codec"
)

type basket struct {
	ID    string           `json:"id" validate:"required,max=4"`
	Items []basketItem     `json:"items" validate:"dive"`
	By    map[string]*item `json:"by" validate:"dive,keys,max=3,endkeys,required"`
}

type basketItem struct {
	Price int `json:"price" validate:"gt=0"`
}

type item struct {
	Mail string `validate:"omitempty,email"`
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := basket{ID: "1", Items: []basketItem{{1}}, By: map[string]*item{"a": {}}}
	if err := codec.Validate(good); err != nil {
		t.Error(err)
	}
	if err := codec.Validate(&good); err != nil {
		t.Error(err)
	}
	bad := basket{ID: "SECRET", Items: []basketItem{{1}, {-98769876}}, By: map[string]*item{"SECRET": {Mail: "SECRET"}}}
	want := []string{
		`field "ID" (string) fails "max=4"`, `field "Items[1].Price" (int) fails "gt=0"`,
		`field "By[...]" (string) fails "max=3"`, `field "By[...]" (string) fails "email"`,
	}
	err := codec.Validate(bad)
	wantLines(t, err, want...)
	wantLines(t, codec.Validate(&bad), want...)
	if errs := fieldErrors(t, err); errs[1].Field != "Items[1].Price" {
		t.Errorf("got %+v", errs[1])
	}
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "SECRET") || strings.Contains(text, "98769876") {
		t.Errorf("a value is in the error: %s", text)
	}
	// The tags that a proof knows, and notblank.
	type plain struct {
		Text string `validate:"notblank"`
	}
	wantLines(t, codec.Validate(plain{"  "}), `field "Text" (string) fails "notblank"`)

	for name, err := range map[string]error{
		"nil": codec.Validate((*basket)(nil)), "an int": codec.Validate(7), "a slice": codec.Validate([]basket{bad}), "nil in an any": codec.Validate[any](nil),
		"tags of no struct": codec.CheckTags[[]int](), "sound tags": codec.CheckTags[basket](), "of a pointer": codec.CheckTags[*basket](),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	type unsound struct {
		ID   string `validate:"requird"`
		Rest []item `validate:"required"`
	}
	problems := codec.CheckTags[*unsound]()
	wantLines(t, problems, `codec_test.unsound.ID: validate tag "requird": "requird" is undefined; correct it, or define it with WithValidation`,
		`codec_test.unsound.Rest: validate tag "required": the validate tags of codec_test.item are not looked at without dive; add dive, or dive,nostructlevel to leave them out, behind the rules of the field itself`)
	for _, err := range []error{codec.Validate(unsound{}), codec.Validate(&unsound{ID: "1"})} {
		if err == nil || err.Error() != problems.Error() {
			t.Errorf("got %v", err)
		}
	}
	wantLines(t, codec.Validate(struct{ J jumpyLate }{}), "a validate tag of struct { J codec_test.jumpyLate } makes validator panic; correct the tag or the methods of the type that it calls")
}

// jumpyLate panics once Check has looked at it: twice with zeros and pointers.
type jumpyLate struct{ n int }

var jumps int

func (j jumpyLate) ValidatorValue() any {
	if jumps++; jumps > 2 {
		panic("late")
	}
	return j.n
}

// xmlCodec is a codec of one's own, that checks as those of this package do.
type xmlCodec[T any] struct{}

func (xmlCodec[T]) Check() error { return codec.CheckTags[T]() }

func (xmlCodec[T]) Decode(fields codec.Fields) (T, error) {
	var value, zero T
	text, _ := fields.Get("xml")
	if err := xml.Unmarshal([]byte(text), &value); err != nil {
		return zero, codec.FieldErrors{{Field: "xml", Reason: "is not the XML of its type"}}
	}
	if err := codec.Validate(value); err != nil {
		return zero, err
	}
	return value, nil
}

func (xmlCodec[T]) Encode(value T) ([]string, error) {
	if err := codec.Validate(value); err != nil {
		return nil, err
	}
	text, err := xml.Marshal(value)
	return []string{"xml", string(text)}, err
}

// A codec of one's own checks the validate tags, and says at construction what is
// wrong with them.
func ExampleValidate() {
	type Reading struct {
		Sensor  string  `validate:"required"`
		Celsius float64 `validate:"gte=-90,lte=60"`
	}
	var readings codec.Codec[Reading] = xmlCodec[Reading]{}
	_, err := readings.Decode(codec.FieldsOf("xml", "<Reading><Celsius>1000</Celsius></Reading>"))
	fmt.Println(err)
	// Output: field "Sensor" (string) fails "required"; field "Celsius" (float64) fails "lte=60"
}

func TestCodecOfOnesOwn(t *testing.T) {
	t.Parallel()
	type reading struct {
		Sensor string `validate:"required"`
	}
	roundTripped(t, codec.Codec[reading](xmlCodec[reading]{}), reading{"a"})
	type unsound struct {
		Sensor string `validate:"eqfield=Other"`
	}
	wantLines(t, check(t, codec.Codec[unsound](xmlCodec[unsound]{})),
		`codec_test.unsound.Sensor: validate tag "eqfield=Other": "eqfield=Other" names the field Other, which codec_test.unsound does not have; use the names of the fields in Go`)
}
