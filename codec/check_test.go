package codec_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/go-playground/validator/v10"

	"millrace/codec"
)

type tree struct {
	Name     string           `json:"name"`
	Children []tree           `json:"children"`
	Parent   *tree            `json:"parent"`
	ByName   map[string]*tree `json:"by_name"`
}

type stamp time.Time

type loop *loop

type inner struct{ X chan int }

type badParts struct {
	Fine    int `json:"fine"`
	Done    chan struct{}
	Call    func() `json:"-"`
	Reader  []io.Reader
	Floats  map[float64]string
	Complex *complex64
	Stamp   stamp
	*inner
	Again *badParts
}

type badSquash struct {
	A string `mapstructure:"a"`
}

type bad struct {
	A       string     `mapstructure:"a"`
	Twin    string     `mapstructure:"a"`
	Squash  badSquash  `mapstructure:",squash"`
	Pointer *badSquash `mapstructure:",squash"`
	Scalar  int        `mapstructure:",squash"`
	badSquash
	Chan    chan int
	Call    func()
	Complex *complex128
	Unsafe  unsafe.Pointer
	Uintptr uintptr
	Reader  io.Reader
	hidden  string            `mapstructure:"hidden"`
	One     map[string]any    `mapstructure:",remain"`
	Two     map[string]string `mapstructure:",remain"`
	Three   map[string]int    `mapstructure:",remain"`
	Milli   int64             `mapstructure:"milli,unixmilli"`
	Typo    string            `mapstructure:"typo,omitemtpy"`
	Dash    string            `mapstructure:"-,omitempty"`
	Both    badSquash         `mapstructure:",squash,trim"`
	At      time.Time         `mapstructure:",squash"`
	Loop    loop
	Parts   badParts
	Tag     string   `mapstructure:"tag" validate:"requird"`
	Param   *int     `mapstructure:"param" validate:"required,max=1O"`
	Kind    bool     `mapstructure:"kind" validate:"omitempty,min=1"`
	Dive    string   `mapstructure:"dive" validate:"dive,required"`
	Keys    []string `mapstructure:"keys" validate:"dive,keys,required,endkeys"`
	Or      string   `mapstructure:"or" validate:"eq=a|ew=b"`
	Empty   string   `mapstructure:"empty" validate:"required,"`
}

func TestCheckReportsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_ = bad{hidden: ""}.hidden
	c := codec.Struct[bad](
		codec.WithValidation("", func(validator.FieldLevel) bool { return true }),
		codec.WithValidation("nothing", nil),
		codec.WithValidation("dive", func(validator.FieldLevel) bool { return true }),
	)
	const unmade = `cannot be made from a field's text; change its type, give it MarshalText and UnmarshalText, or tag it mapstructure:"-"`
	err := check(t, c)
	wantLines(t, err,
		`codec_test.bad.Twin: the name "a" is taken by A; rename one of them`,
		`codec_test.bad.Squash.A: the name "a" is taken by A; rename one of them`,
		`codec_test.bad.Pointer: squash is for structs, not for *codec_test.badSquash; use the struct itself, without a pointer`,
		`codec_test.bad.Scalar: squash is for structs, not for int; use the struct itself, without a pointer`,
		`codec_test.bad.badSquash: an embedded struct needs a tag: mapstructure:",squash" takes in its fields, a name makes it one JSON field, "-" keeps it out`,
		`codec_test.bad.Chan: a chan int `+unmade,
		`codec_test.bad.Call: a func() `+unmade,
		`codec_test.bad.Complex: a complex128 `+unmade,
		`codec_test.bad.Unsafe: a unsafe.Pointer `+unmade,
		`codec_test.bad.Uintptr: a uintptr `+unmade,
		`codec_test.bad.Reader: a io.Reader `+unmade,
		`codec_test.bad.hidden: a tag on an unexported field does nothing; export the field or remove the tag`,
		`codec_test.bad.Two: One takes what remains already; keep one remain`,
		`codec_test.bad.Three: remain is for a map[string]string or a map[string]any, not for map[string]int; change its type`,
		`codec_test.bad.Milli: the option unixmilli is for time.Time, not for int64; remove it`,
		`codec_test.bad.Typo: unknown tag option "omitemtpy"; the options are squash, remain, omitempty, unix, unixmilli and trim`,
		`codec_test.bad.Dash: the name "-" keeps a field out and takes no options; remove them, or the name`,
		`codec_test.bad.Both: squash and remain go with no other option; remove the others`,
		`codec_test.bad.At: squash takes in exported fields, and time.Time has none, so that its value would be lost; give it a name instead`,
		`codec_test.bad.Loop: a codec_test.loop `+unmade,
		`codec_test.bad.Parts.Done: a chan has no JSON; remove it, or tag it json:"-"`,
		`codec_test.bad.Parts.Reader: JSON cannot tell which type to put into the interface io.Reader; use a concrete type`,
		`codec_test.bad.Parts.Floats: JSON cannot have keys of type float64; use a string or an integer, or give the type MarshalText and UnmarshalText`,
		`codec_test.bad.Parts.Complex: a complex64 has no JSON; remove it, or tag it json:"-"`,
		`codec_test.bad.Parts.Stamp: codec_test.stamp has no exported field, so its JSON would always be {}; give it MarshalText and UnmarshalText`,
		`codec_test.bad.Parts.inner: JSON cannot set an embedded pointer to an unexported struct; embed the struct itself`,
		`WithValidation: the tag is empty; give it a name`,
		`WithValidation: the function of the tag "nothing" is nil; give it one`,
		`WithValidation: the tag "dive" is reserved or has reserved characters; choose another name`,
		`codec_test.bad.Tag: validate tag "requird": "requird" is undefined; correct it, or define it with WithValidation`,
		`codec_test.bad.Param: validate tag "required,max=1O": "max=1O" does not go with the type int; correct its parameter or remove it`,
		`codec_test.bad.Kind: validate tag "omitempty,min=1": "min=1" does not go with the type bool; correct its parameter or remove it`,
		`codec_test.bad.Dive: validate tag "dive,required": dive is for slices, arrays and maps, not for string; remove it`,
		`codec_test.bad.Keys: validate tag "dive,keys,required,endkeys": keys is for maps, directly behind dive; move or remove it`,
		`codec_test.bad.Or: validate tag "eq=a|ew=b": "ew=b" is undefined; correct it, or define it with WithValidation`,
		`codec_test.bad.Empty: validate tag "required,": "" is undefined; correct it, or define it with WithValidation`,
	)
	if _, decodeErr := c.Decode(codec.FieldsOf("a", "x")); decodeErr == nil || decodeErr.Error() != err.Error() {
		t.Errorf("Decode does not report them: %v", decodeErr)
	}
	if _, encodeErr := c.Encode(bad{}); encodeErr == nil || encodeErr.Error() != err.Error() {
		t.Errorf("Encode does not report them: %v", encodeErr)
	}
}

func TestCheckRefusesWhatIsNoStruct(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"int":               check(t, codec.Struct[int]()),
		"*codec_test.tree":  check(t, codec.Struct[*tree]()),
		"interface {}":      check(t, codec.Struct[any]()),
		"map[string]string": check(t, codec.Struct[map[string]string]()),
		"codec_test.loop":   check(t, codec.Struct[loop]()),
	} {
		wantLines(t, err, name+": Struct serves structs only; use a struct, not a pointer to one, or the JSON codec")
	}
	if _, err := codec.Struct[*tree]().Decode(codec.FieldsOf("a", "b")); err == nil {
		t.Error("Decode into no struct: no error")
	}
}

func TestCheckFindsTagsBehindDive(t *testing.T) {
	t.Parallel()
	type leaf struct {
		N int `validate:"wrong"`
	}
	type foreign struct {
		N int `validate:"of_another_validator"`
	}
	type event struct {
		Dived []map[string]*leaf `validate:"dive,dive"`
		Left  []foreign
		When  time.Time      `validate:"required,lt"`
		Map   map[string]int `validate:"dive,keys,min=1,endkeys,max=3"`
		Twin  string         `validate:"eqfield=Other|required_with=Other"`
		Other string
		Any   any `validate:"min=1"`
	}
	wantLines(t, check(t, codec.Struct[event]()),
		`codec_test.leaf.N: validate tag "wrong": "wrong" is undefined; correct it, or define it with WithValidation`)
}

func TestCheckAcceptsSoundTypes(t *testing.T) {
	t.Parallel()
	type sound struct {
		Tree    tree            `mapstructure:"tree"`
		Raw     json.RawMessage `mapstructure:"raw"`
		Any     any             `mapstructure:"any"`
		private int
		Nothing struct{} `mapstructure:"nothing"`
		Pairs   map[int]map[string][2]any
	}
	_ = sound{}.private
	for _, err := range []error{
		check(t, codec.Struct[sound]()), check(t, codec.Struct[struct{}]()), check(t, codec.JSON[tree]{}), check(t, codec.JSON[*tree]{}),
		check(t, codec.JSON[any]{}), check(t, codec.JSON[[]sound]{}), check(t, codec.JSON[time.Time]{}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestCheckJSON(t *testing.T) {
	t.Parallel()
	wantLines(t, check(t, codec.JSON[[]chan int]{}), `[]chan int: a chan has no JSON; remove it, or tag it json:"-"`)
	type event struct {
		C  chan int
		F  func()
		ID string `validate:"requird"`
	}
	want := []string{
		`codec_test.event.C: a chan has no JSON; remove it, or tag it json:"-"`,
		`codec_test.event.F: a func has no JSON; remove it, or tag it json:"-"`,
		`codec_test.event.ID: validate tag "requird": "requird" is undefined; correct it, or define it with WithValidation`,
	}
	wantLines(t, check(t, codec.JSON[event]{}), want...)
	want[0], want[1] = strings.Replace(want[0], "codec", "*codec", 1), strings.Replace(want[1], "codec", "*codec", 1)
	wantLines(t, check(t, codec.JSON[*event]{}), want...)
	for _, err := range []error{
		func() error { _, err := codec.JSON[event]{}.Decode(codec.FieldsOf("payload", "{}")); return err }(),
		func() error { _, err := codec.JSON[event]{}.Encode(event{}); return err }(),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "a validate tag of codec_test.event makes validator panic") {
			t.Errorf("got %v", fmt.Sprint(err))
		}
	}
}
