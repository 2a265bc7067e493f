package verdicts_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"millrace/codec"
	"millrace/codec/schema"
)

type texts struct {
	A  string  `json:"a" validate:"required"`
	B  string  `json:"b" validate:"notblank"`
	C  string  `json:"c" validate:"min=2"`
	D  string  `json:"d" validate:"max=3"`
	E  string  `json:"e" validate:"len=3"`
	F  string  `json:"f" validate:"gt=1,lt=4"`
	G  string  `json:"g" validate:"gte=1,lte=0x3"`
	H  string  `json:"h" validate:"eq=abc"`
	I  string  `json:"i" validate:"ne=abc"`
	J  string  `json:"j" validate:"oneof=abc 'a b' x.y"`
	K  string  `json:"k" validate:"noneof=abc 'a b'"`
	L  string  `json:"l" validate:"contains=b"`
	M  string  `json:"m" validate:"excludes=b"`
	N  string  `json:"n" validate:"startswith=a"`
	O  string  `json:"o" validate:"endswith=c"`
	P  string  `json:"p" validate:"contains=.*"`
	Q  string  `json:"q" validate:"omitempty,min=3"`
	R  string  `json:"r" validate:"omitzero,oneof=abc x"`
	S  string  `json:"s" validate:"omitnil,min=2"`
	T  string  `json:"t" validate:"eq=abc|eq=x|len=2"`
	U  string  `json:"u" validate:"alpha"`
	V  string  `json:"v" validate:"omitempty,alphanum"`
	W  string  `json:"w" validate:"required,max=3,excludes=x,contains=a,contains=c"`
	X  *string `json:"x" validate:"omitempty,min=2"`
	Y  *string `json:"y" validate:"required"`
	Z  *string `json:"z" validate:"min=2"`
	AA string  `json:"aa" validate:"uuid"`
	AB string  `json:"ab" validate:"lt=0"`
	AC string  `json:"ac" validate:"startswith=0x2C"`
	AD string  `json:"ad"`
}

type integers struct {
	A int    `json:"a" validate:"required"`
	B int    `json:"b" validate:"min=2"`
	C int    `json:"c" validate:"max=3"`
	D int    `json:"d" validate:"gt=-1,lt=7"`
	E int    `json:"e" validate:"gte=0,lte=0x7"`
	F int    `json:"f" validate:"eq=7"`
	G int    `json:"g" validate:"ne=7"`
	H int    `json:"h" validate:"oneof=1 7 08"`
	I int    `json:"i" validate:"noneof=1 7"`
	J int    `json:"j" validate:"omitempty,min=3"`
	K int    `json:"k" validate:"len=3"`
	L int    `json:"l" validate:"notblank"`
	M *int   `json:"m" validate:"omitempty,gt=0"`
	N *int   `json:"n" validate:"required,ne=7"`
	O int8   `json:"o" validate:"min=3"`
	P int    `json:"p" validate:"eq=1|gt=6"`
	Q int    `json:"q" validate:"omitzero,gt=3,ne=7"`
	R int64  `json:"r"`
	S *int16 `json:"s" validate:"gt=1"`
	T uint   `json:"t" validate:"max=3"`
	U uint8  `json:"u" validate:"required,ne=7"`
	V uint64 `json:"v" validate:"oneof=0 7"`
	W uint32 `json:"w" validate:"omitempty,gt=2"`
}

type floats struct {
	A float64  `json:"a" validate:"required"`
	B float64  `json:"b" validate:"min=0.5"`
	C float64  `json:"c" validate:"max=1.5"`
	D float64  `json:"d" validate:"gt=0,lt=1.5"`
	E float64  `json:"e" validate:"eq=1.5"`
	F float64  `json:"f" validate:"ne=1.5"`
	G float32  `json:"g" validate:"gte=0.1,lte=1.5"`
	H float32  `json:"h" validate:"omitempty,gt=1e0"`
	I *float64 `json:"i" validate:"omitnil,lt=1"`
}

type bools struct {
	A bool  `json:"a" validate:"required"`
	B bool  `json:"b" validate:"eq=false"`
	C bool  `json:"c" validate:"ne=false"`
	D *bool `json:"d" validate:"required"`
	E bool  `json:"e" validate:"omitempty,eq=true"`
	F bool  `json:"f" validate:"notblank"`
}

type lists struct {
	A []string          `json:"a" validate:"required"`
	B []string          `json:"b" validate:"min=1"`
	C []string          `json:"c" validate:"max=1"`
	D []string          `json:"d" validate:"len=2"`
	E []string          `json:"e" validate:"omitempty,min=2"`
	F []string          `json:"f" validate:"omitzero,min=2"`
	G []string          `json:"g" validate:"unique"`
	H []string          `json:"h" validate:"dive,min=2"`
	I []string          `json:"i" validate:"required,dive,required,max=2"`
	J []string          `json:"j" validate:"ne=1"`
	K []string          `json:"k" validate:"notblank"`
	L []*string         `json:"l" validate:"omitnil,gt=0,dive,required"`
	M []string          `json:"m" validate:"omitempty,dive,oneof=a bc"`
	N [][]string        `json:"n" validate:"dive,min=1,dive,max=2"`
	O [2]string         `json:"o" validate:"dive,max=2"`
	P []string          `json:"p" validate:"gte=1,lte=1"`
	Q []string          `json:"q"`
	V []*string         `json:"v" validate:"omitzero,dive,required"`
	W []*string         `json:"w" validate:"dive,omitempty,min=2"`
	R map[string]string `json:"r" validate:"required,min=1"`
	S map[string]string `json:"s" validate:"dive,min=2"`
	T map[string]string `json:"t" validate:"max=1,dive,keys,max=1,endkeys,required"`
	U map[string]int    `json:"u" validate:"omitempty,len=1"`
}

type part struct {
	City string `json:"city" validate:"required"`
	Zip  string `json:"zip" validate:"omitempty,len=2"`
}

type parts struct {
	A part   `json:"a"`
	B *part  `json:"b"`
	C *part  `json:"c" validate:"required"`
	D []part `json:"d" validate:"dive"`
	E part   `json:"e" validate:"omitempty"`
	F *part  `json:"f" validate:"omitempty"`
}

var (
	textValues    = []string{"", " ", "a", "ab", "abc", "abcd", "x", "x.y", "a b", "\u00e4\u00f6", "xbx", ".*", ",x", "\u00a0", "\u2003\t", "7", "c936da01-9abd-4d9d-80c7-02af85c822a8", "bca", "\u65e5\u672c\u8a9e"}
	integerValues = []string{"-128", "-1", "0", "1", "2", "3", "4", "6", "7", "8", "100"}
	floatValues   = []string{"-1", "0", "0.1", "0.5", "1", "1.25", "1.5", "2"}
	boolValues    = []string{"true", "false"}
	listValues    = []string{`[]`, `["a"]`, `["a","bc"]`, `["a","a"]`, `["bc","abc"]`, `["","x","y"]`}
	partValues    = []string{`{}`, `{"city":"x"}`, `{"city":""}`, `{"city":"x","zip":"12"}`, `{"city":"x","zip":"1"}`, `{"zip":"12"}`}
	otherValues   = map[string][]string{
		"l": {`[]`, `["a"]`, `[null]`, `["",null]`}, "v": {`[]`, `["a"]`, `[null]`, `["",null]`}, "w": {`[]`, `["a"]`, `[null]`, `["ab",null]`}, "n": {`[]`, `[["a"]]`, `[[]]`, `[["abc"]]`, `[null]`}, "o": {`["a","b"]`, `["abc",""]`},
		"r": {`{}`, `{"a":"b"}`}, "s": {`{}`, `{"a":"b"}`, `{"a":"bc"}`}, "t": {`{}`, `{"a":"b"}`, `{"ab":"b"}`, `{"a":""}`, `{"a":"b","b":"c"}`}, "u": {`{}`, `{"a":1}`, `{"a":1,"b":2}`},
		"d": {`[]`, `[{"city":"x"}]`, `[{}]`}, // of parts
	}
)

// TestVerdicts: a document says of each value what validator says of it.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	quoted := make([]string, len(textValues))
	for i, text := range textValues {
		b, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		quoted[i] = string(b)
	}
	total := compare[texts](t, quoted, nil)
	total += compare[integers](t, integerValues, nil)
	total += compare[floats](t, floatValues, nil)
	total += compare[bools](t, boolValues, nil)
	total += compare[lists](t, listValues, otherValues)
	total += compare[parts](t, partValues, map[string][]string{"d": otherValues["d"]})
	t.Logf("%d verdicts were compared", total)
	if total < 630 {
		t.Errorf("only %d verdicts were compared", total)
	}
}

// compare compares the verdicts about each field of T, alone, and returns how many there were.
func compare[T any](t *testing.T, values []string, others map[string][]string) (compared int) {
	t.Helper()
	document, err := schema.Of[T](codec.JSON[T]{})
	if err != nil {
		t.Fatal(err)
	}
	var root struct {
		Required []string `json:"required"`
	}
	if err := json.Unmarshal(document.JSON(), &root); err != nil {
		t.Fatal(err)
	}
	compiler := compilerOf(t, document.JSON())
	for field := range reflect.TypeFor[T]().Fields() {
		name := field.Tag.Get("json")
		compiled, err := compiler.Compile("mem:///event.json#/properties/" + name)
		if err != nil {
			t.Fatal(err)
		}
		of := values
		if other, ok := others[name]; ok {
			of = other
		}
		for _, text := range append([]string{"", "null"}, of...) {
			ours, decodes := verdictOf[T](t, field, name, text)
			if !decodes {
				continue // no value of the type
			}
			required := strings.Contains(" "+strings.Join(root.Required, " ")+" ", " "+name+" ")
			theirs := !required
			if text != "" {
				value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				theirs = compiled.Validate(value) == nil
			}
			if text == "null" && !isNilable(field.Type) {
				continue // the same as a field that is missing, which the document has as that
			}
			compared++
			if ours != theirs {
				t.Errorf("%s %q, value %s: validator says %v, the document %v", field.Type, field.Tag.Get("validate"), text, ours, theirs)
			}
		}
	}
	return compared
}

func isNilable(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map
}

var judge = func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	if err := v.RegisterValidation("notblank", func(validator.FieldLevel) bool { return true }); err != nil {
		panic(err)
	}
	return v
}()

// verdictOf is that of the codec on an event of which one field alone may be wrong.
func verdictOf[T any](t *testing.T, field reflect.StructField, name, text string) (valid, decodes bool) {
	t.Helper()
	document := "{}"
	if text != "" {
		document = fmt.Sprintf("{%q:%s}", name, text)
	}
	_, err := codec.JSON[T]{}.Decode(codec.FieldsOf("payload", document))
	if err != nil && strings.Contains(err.Error(), " holds ") {
		return false, false
	}
	// The codec tells of all fields; this one's name is in its error.
	valid = true
	wrong, _ := errors.AsType[codec.FieldErrors](err)
	for _, e := range wrong {
		if rest, ok := strings.CutPrefix(e.Field, "payload."+name); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			valid = false
		}
	}
	// What the codec says is what validator says.
	var value T
	if json.Unmarshal([]byte(document), &value) != nil {
		t.Fatalf("%s is taken by the codec alone", document)
	}
	if field.Type.Kind() != reflect.Struct && deep(field.Type).Kind() != reflect.Struct {
		if alone := judge.StructPartial(&value, field.Name) == nil; alone != valid && !strings.Contains(field.Tag.Get("validate"), "notblank") && !strings.Contains(field.Tag.Get("validate"), "dive") {
			t.Errorf("%s %s: validator alone says %v", name, document, alone)
		}
	}
	return valid, true
}

func deep(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// compilerOf compiles the document, which has to be valid by the specification's own schema.
func compilerOf(t *testing.T, text []byte) *jsonschema.Compiler {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///event.json", value); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compile("mem:///event.json"); err != nil {
		t.Fatalf("the document is not valid: %v\n%s", err, text)
	}
	return c
}

type address struct {
	City string `mapstructure:"city" validate:"required"`
}

type everything struct {
	Self  *everything            `json:"self" mapstructure:"self"`
	Any   any                    `json:"any" mapstructure:"any"`
	At    time.Time              `json:"at" mapstructure:"at" validate:"required"`
	Milli codec.UnixMilli        `json:"milli" mapstructure:"milli"`
	For   time.Duration          `json:"for" mapstructure:"for" validate:"min=1s"`
	Raw   []byte                 `json:"raw" mapstructure:"raw" validate:"max=3"`
	Num   json.Number            `json:"num" mapstructure:"num"`
	Text  codec.Text[part]       `json:"text" mapstructure:"text"`
	Other string                 `json:"other" mapstructure:"other" validate:"eqfield=Mail"`
	Mail  string                 `json:"mail" mapstructure:"mail" validate:"omitempty,email"`
	Quote int                    `json:"quote,string" mapstructure:"quote" validate:"max=3"`
	ByInt map[int]map[string]any `json:"by_int" mapstructure:"by_int" validate:"dive,keys,max=3,endkeys"`
	Rest  map[string]string      `json:"rest" mapstructure:",remain" validate:"max=3"`
}

// TestDocumentsAreValid: the specification's own schema takes the document of each codec.
func TestDocumentsAreValid(t *testing.T) {
	t.Parallel()
	valid(t, codec.Struct[everything]())
	valid(t, codec.Struct[address](codec.DisallowUnknownFields()))
	valid(t, codec.Codec[everything](codec.JSON[everything]{}))
	valid(t, codec.Codec[[]everything](codec.JSON[[]everything]{}))
	valid(t, codec.OneOf("kind", codec.Kind("a", codec.Struct[everything](), func(e everything) any { return e }),
		codec.Kind("b", codec.JSON[parts]{}, func(p parts) any { return p })))
	valid(t, codec.Versions("v", "2", codec.Codec[parts](codec.JSON[parts]{}),
		codec.Upcast("1", codec.Struct[address](), func(address) (parts, error) { return parts{}, nil })))
}

func valid[T any](t *testing.T, c codec.Codec[T]) {
	t.Helper()
	document, err := schema.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	compilerOf(t, document.JSON())
	if breaks := schema.Accepts(document, document); len(breaks) > 0 {
		t.Errorf("a document of %T does not accept itself: %v", c, breaks)
	}
}
