package codec_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"

	"millrace/codec"
)

// refund has fields of most types, for the tags that speak of others.
type refund struct {
	Kind     string
	Count    int
	Size     uint8
	Rate     float64
	Active   bool
	Optional *int64
	Text     *string
	Flag     *bool
	Raw      []byte
	Lines    []line
	By       map[string]line
	At       time.Time
	Until    *time.Time
	Wait     time.Duration
	Ship     struct{ City string }
	Any      any
	private  string
	line
	*Far
}

type line struct {
	SKU  string
	Tags []string
	N    int
	refs []int
}

type Far struct{ Away string }

// tagged returns a refund with one more field of the type of value, with the tag.
func tagged(value any, tag string) reflect.Type {
	fields := []reflect.StructField{{Name: "Field", Type: reflect.TypeOf(value), Tag: reflect.StructTag(`validate:"` + tag + `"`)}}
	t := reflect.TypeFor[refund]()
	for i := range t.NumField() {
		if f := t.Field(i); !f.Anonymous && f.IsExported() {
			fields = append(fields, f)
		}
	}
	return reflect.StructOf(fields)
}

func TestCheckTriesTags(t *testing.T) {
	t.Parallel()
	_ = refund{private: ""}.private
	_ = line{refs: nil}.refs
	var text *string
	var number *int64
	var list *[]string
	var missing any = &line{}
	_ = missing
	const noField = "which "
	for _, r := range []struct {
		value any
		tag   string
		want  string // a part of the problem, or "" for none
	}{
		// A nil that gets past what speaks of other fields.
		{number, "required_if=Kind a,gte=2", `a nil gets past "required_if=Kind a" to "gte=2"`},
		{number, "required_unless=Kind a,gte=2", `to "gte=2"`},
		{number, "excluded_with=Text,gte=2", `a nil gets past "excluded_with=Text" to "gte=2"`},
		{text, "required_without=Optional,uuid", `to "uuid"`},
		{text, "skip_unless=Kind a,len=3", `to "len=3"`},
		{text, "excluded_if=Kind a,required_with=Optional,len=3", `a nil gets past "required_with=Optional" to "len=3"`},
		{text, "required_with=Optional|eq=x", `to "eq=x"`},
		{list, "required_with=Optional,dive,len=3", `to "dive"`},
		{[]*int64{}, "dive,required_if=Kind a,gte=2", `to "gte=2"`},
		{map[string]*int64{}, "dive,keys,len=1,endkeys,required_if=Kind a,gte=2", `to "gte=2"`},
		{number, "required_if=Kind a,omitempty,gte=2", ""},
		{number, "required_if=Kind a,omitnil,gte=2", ""},
		{number, "required_if=Kind a,required_with=Text", ""},
		{number, "required,gte=2", ""},
		{number, "excluded_with=Text,required,gte=2", ""},
		{number, "gte=2,required_if=Kind a", ""},
		{number, "omitempty,required_if=Kind a,gte=2", ""},
		{list, "required,dive,len=3", ""},
		{"", "required_if=Kind a,len=3", ""},
		{[]string{}, "required_if=Kind a,dive,len=3", ""},

		// Names of fields.
		{"", "required_if=kind a", "names the field kind, " + noField},
		{"", "required_with=Optional Txt", "names the field Txt, " + noField},
		{"", "excluded_without_all=Nothing", "names the field Nothing, " + noField},
		{"", "eqfield=Knd", "names the field Knd, " + noField},
		{"", "eqcsfield=Ship.Town", "names the field Ship.Town, " + noField},
		{"", "eqfield=Kind.City", "names the field Kind.City, " + noField},
		{"", "eqfield=Lines.SKU", "names the field Lines.SKU, " + noField},
		{"", "eqfield=Lines[0].Sku", "names the field Lines[0].Sku, " + noField},
		{"", "eqfield=Lines[0", "names the field Lines[0, " + noField},
		{"", "eqfield=At.wall", "names the field At.wall, " + noField},
		{"", "fieldcontains=Knd", "names the field Knd, " + noField},
		{"", "postcode_iso3166_alpha2_field=Knd", "names the field Knd, " + noField},
		{"", "postcode_iso3166_alpha2_field=Kind Kind", "takes the name of one field"},
		{"", "postcode_iso3166_alpha2_field=Count", "needs a field with a text, and Count is a int"},
		{"", "len=3|eqfield=Knd", `"eqfield=Knd" names the field Knd`},
		{[]string{}, "dive,eqfield=Knd", "names the field Knd"},
		{"", "eqfield=Kind", ""},
		{"", "eqcsfield=Ship.City", ""},
		{"", "eqfield=Lines[0].SKU", ""},
		{"", "eqfield=Lines[0].Tags[1]", ""},
		{"", "eqfield=By[x].SKU", ""},
		{"", "eqfield=Any.Whatever", ""},
		{"", "eqfield=Text", ""},
		{"", "required_with=Optional Text Lines By At", ""},
		{"", "postcode_iso3166_alpha2_field=Kind", ""},

		// Pairs of names and values.
		{"", "required_if=Kind", "does not pair names with values"},
		{"", "excluded_if=Kind a Count", "does not pair names with values"},
		{"", "required_if=Kind a Kind b", "names Kind twice"},
		{"", "required_unless=Kind a Kind b", ""},
		{"", "required_if=Kind 'a b' Count 3", ""},
		{"", "required_if=Kind a b", "does not pair"},
		{"", "required_if=Count x", "compares Count, a int, with a value that is no number"},
		{"", "required_if=Size -1", "with a value that is no number"},
		{"", "required_if=Rate x", "with a value that is no number"},
		{"", "required_if=Rate 1.5", ""},
		{"", "required_if=Active yes", "compares Active, a bool, with another value than true and false"},
		{"", "required_if=Active false", ""},
		{"", "required_if=Optional nil", "compares Optional with nil, for which validator panics once it is set"},
		{"", "required_if=Optional 3", ""},
		{"", "required_if=Flag nil", "another value than true and false"},
		{"", "required_if=Text nil", ""},
		{"", "required_if=Raw nil", ""},
		{"", "required_if=Lines 2", ""},
		{"", "required_if=Lines x", "with a value that is no number"},
		{"", "required_if=At 2024", "compares At, a time.Time, with a text, which it never is"},
		{"", "required_if=Until nil", ""},
		{"", "required_if=Any x", ""},
		{"", "required_if=Wait 5", ""},

		// Fields that are compared.
		{"", "eqfield=Count", "compares a string with Count, a int, which are never equal"},
		{0, "gtfield=Size", "compares a int with Size, a uint8"},
		{time.Time{}, "gtfield=Until", ""},
		{time.Time{}, "gtfield=Kind", "compares a time.Time with Kind"},
		{refund{}.Ship, "eqfield=Ship", "cannot compare a struct"},
		{true, "gtfield=Active", "cannot compare a bool"},
		{true, "eqfield=Active", ""},
		{0, "fieldcontains=Count", "cannot compare a int"},
		{"", "fieldexcludes=Kind", ""},
		{[]byte{}, "eqfield=Raw", ""},

		// Parameters that are missing.
		{"", "contains", `"contains" lacks its parameter`},
		{"", "startswith=", `"startswith=" lacks its parameter`},
		{"", "oneof=", "lacks its parameter"},
		{"", "required_with", "lacks its parameter"},
		{"", "required_if", "lacks its parameter"},
		{"", "datetime", "lacks its parameter"},
		{"", "eqfield", "lacks its parameter"},
		{"", "min", `"min" does not go with the type string`},
		{"", "eq=", ""},
		{time.Time{}, "gt", ""},

		// Rules that are the same for every value of their type.
		{struct{ A int }{}, "uuid", `"uuid" is for texts, and says the same of every struct { A int }`},
		{0, "email", `"email" is for texts, and says the same of every int`},
		{[]string{}, "startsnotwith=x", "is for texts"},
		{[]string{}, "numeric", "is for texts"},
		{[]string{}, "dive,email", ""},
		{number, "omitempty,e164", "is for texts"},
		{1.5, "numeric", ""},
		{true, "boolean", ""},
		{0, "boolean", "is for texts"},
		{stringer{}, "uuid4", ""},
		{stringer{}, "email", "is for texts"},
		{valued{}, "uuid", ""},
		{refund{}.Text, "omitempty,email", ""},

		// unique, which takes the name of a field of the elements.
		{[]line{}, "unique=SKU,dive", ""},
		{[]*line{}, "unique=SKU,dive", ""},
		{[]line{}, "unique=Sku,dive", "names the field Sku, which codec_test.line does not have"},
		{[]line{}, "unique=Tags,dive", "names the field Tags of codec_test.line, which validator cannot compare"},
		{[]line{}, "unique=refs,dive", "which validator cannot compare"},
		{[]string{}, "unique=SKU", "takes a field only where the elements are structs"},
		{map[string]string{}, "unique=SKU", "takes no field for a map"},
		{"", "unique=Kind", ""},
		{"", "unique=Text", "compares a string with Text, which is of another type"},
		{"", "unique=Nothing", "names the field Nothing"},
	} {
		typ := tagged(r.value, r.tag)
		problems := codec.TagProblems(typ)
		got := ""
		if len(problems) > 0 {
			got = problems[0].Error()
		}
		if r.want == "" && got != "" || !strings.Contains(got, r.want) || len(problems) > 1 {
			t.Errorf("%T with %q: got %q, want %q", r.value, r.tag, problems, r.want)
		}
		if got != "" && !strings.Contains(got, `.Field: validate tag "`+r.tag+`": `) {
			t.Errorf("%T with %q: field and tag are not in %q", r.value, r.tag, got)
		}
		if got == "" {
			holdsUp(t, typ)
		}
	}
}

type stringer struct{ text string }

func (s stringer) String() string { return s.text }

// holdsUp fails the test when validator panics for a value of the type: zeros,
// pointers set, or everything set.
func holdsUp(t *testing.T, typ reflect.Type) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("Check finds nothing in %v, and validator panics: %v", typ.Field(0), r)
		}
	}()
	for _, value := range codec.Samples(typ) {
		_ = newOracle(t).Struct(value)
	}
}

func TestCheckFindsPromotedFieldsOfPointers(t *testing.T) {
	t.Parallel()
	type event struct {
		line
		*Far
		SKU2 string `mapstructure:"sku2" validate:"eqfield=SKU"`
		Near string `mapstructure:"near" validate:"eqfield=Away"`
	}
	wantLines(t, codec.CheckTags[event](),
		`codec_test.event.Near: validate tag "eqfield=Away": "eqfield=Away" names the field Away of an embedded pointer, for which validator panics while it is nil; embed the struct itself`)
}

func TestCheckFindsForgottenDives(t *testing.T) {
	t.Parallel()
	type leaf struct {
		N int `validate:"gt=0"`
	}
	type node struct {
		Leaf *leaf
		Next []*node `validate:"-"`
	}
	type foreign struct {
		N int `validate:"of_another_validator"`
	}
	type event struct {
		Items   []leaf `validate:"required"`
		Plain   []leaf
		Map     map[string]*leaf `validate:"min=1"`
		Deep    [][]leaf         `validate:"dive"`
		Pointer *[2]node
		Keys    map[string]leaf   `validate:"dive,keys,min=1,endkeys"`
		Dived   []leaf            `validate:"required,dive"`
		Deeper  map[string][]leaf `validate:"dive,dive"`
		Out     []leaf            `validate:"-"`
		Only    []leaf            `validate:"required,dive,nostructlevel"`
		Foreign []foreign         `validate:"required"`
		Struct  leaf              `validate:"required"`
		Skipped foreign           `validate:"required,nostructlevel"`
		Texts   []string          `validate:"required"`
		Times   []time.Time
	}
	forgotten := func(field, tag, elem string) string {
		if tag != "" {
			tag = `validate tag "` + tag + `": `
		}
		return "codec_test.event." + field + ": " + tag + "the validate tags of codec_test." + elem +
			" are not looked at without dive; add dive, or dive,nostructlevel to leave them out, behind the rules of the field itself"
	}
	wantLines(t, codec.CheckTags[event](),
		forgotten("Items", "required", "leaf"), forgotten("Plain", "", "leaf"), forgotten("Map", "min=1", "leaf"),
		forgotten("Deep", "dive", "leaf"), forgotten("Pointer", "", "node"))
	type left struct {
		Only []leaf `mapstructure:"only" validate:"required,dive,nostructlevel"`
	}
	if _, err := codec.Struct[left]().Decode(codec.FieldsOf("only", `[{"N":-1}]`)); err != nil {
		t.Errorf("dive,nostructlevel looks at the tags: %v", err)
	}
}

// jumpy is a value of validator's own kind that panics while its pointer is nil.
type jumpy struct{ N *int }

func (j jumpy) ValidatorValue() any { return *j.N }

func TestCheckRunsValidator(t *testing.T) {
	t.Parallel()
	type inner struct{ Jumpy jumpy }
	type event struct {
		ID    string   `validate:"required"`
		List  []string `validate:"required,dive,required"`
		Inner []*inner `validate:"required,dive,required"`
	}
	type direct struct {
		ID    string `validate:"required"`
		Inner struct{ inner }
	}
	const cure = "; correct it, or the methods of the type that validator calls"
	// A pointer that is set is not nil: this one has no fault for Check to find.
	if err := codec.CheckTags[event](); err != nil {
		t.Error(err)
	}
	wantLines(t, codec.CheckTags[direct](), "codec_test.inner.Jumpy: makes validator panic for a value of zeros"+cure)
	type touchy struct {
		In []*struct{ T touchyPointer } `validate:"dive"`
	}
	wantLines(t, codec.CheckTags[touchy](), "struct { T codec_test.touchyPointer }.T: makes validator panic once the pointers of the value are set"+cure)
}

// touchyPointer panics at once.
type touchyPointer struct{ N *int }

func (touchyPointer) ValidatorValue() any { panic("touched") }

func TestCheckCallsNoFunctionOfTheUser(t *testing.T) {
	t.Parallel()
	type event struct {
		ID string `mapstructure:"id" validate:"looked_up"`
		N  *int   `mapstructure:"n" validate:"looked_up,gt=0"`
	}
	err := check(t, codec.Struct[event](codec.WithValidation("looked_up", func(validator.FieldLevel) bool {
		t.Error("Check calls the function of a validate tag")
		return true
	})))
	if err != nil {
		t.Error(err)
	}
}

// FuzzTags: validator panics for no value of a type in whose tags Check finds
// nothing.
func FuzzTags(f *testing.F) {
	for i, tag := range []string{
		"required_if=Kind a,gte=2", "excluded_with=Text,dive,len=1", "eqfield=Lines[0].SKU", "required_if=Optional nil", "unique=SKU,dive", "dive,keys,len=1,endkeys,required",
		"omitempty,uuid|eqfield=Kind", "required_unless=Any x Active true", "gtfield=At", "postcode_iso3166_alpha2_field=Kind", "eqfield=By[a].Tags[0]", "isdefault,min=1", "required_with=Far.Away,url",
	} {
		f.Add(tag, uint8(i))
	}
	values := []any{"", new(string), new(int64), []line{}, []*line{}, map[string]*int{}, time.Time{}, &time.Time{}, true, 1.5, [2]uint8{}, refund{}.Ship, &[]string{}}
	f.Fuzz(func(t *testing.T, tag string, at uint8) {
		if len(tag) > 80 || strings.ContainsAny(tag, "\"\\`\x00\n\r\t") || strings.Contains(tag, "file") || strings.Contains(tag, "dir") || strings.Contains(tag, "addr") || strings.Contains(tag, "uds") || strings.Contains(tag, "image") {
			t.Skip("no tag of a source file, or one that looks at the machine")
		}
		typ := tagged(values[int(at)%len(values)], tag)
		if typ.Field(0).Tag.Get("validate") != tag || len(codec.TagProblems(typ)) > 0 {
			return
		}
		holdsUp(t, typ)
	})
}

var plainName = regexp.MustCompile(`^[A-Za-z]+(\[\w+\])*(\.[A-Za-z]+(\[\w+\])*)*$`)

// FuzzNamesOfOthers: a plain name leads to a field exactly where validator finds one.
func FuzzNamesOfOthers(f *testing.F) {
	for _, name := range strings.Fields("Kind kind Optional Lines[0].SKU Lines.SKU Lines[0 By[x].Tags[0] By[].N Ship.City Ship.City.X At.wall Until SKU Away Any.X private Raw[0] . [0] line.SKU Far.Away Kind[0]") {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || len(name) > 60 {
			return
		}
		value := refund{
			Optional: new(int64), Text: new(string), Flag: new(bool), Raw: []byte{1}, Lines: []line{{Tags: []string{""}, refs: []int{1}}},
			Until: new(time.Time), Any: 1, line: line{Tags: []string{""}, refs: []int{1}}, Far: new(Far),
		}
		v := newOracle(t)
		found := false
		validate := func(level validator.FieldLevel) bool {
			_, kind, _, ok := level.GetStructFieldOKAdvanced2(level.Parent(), name)
			found = ok && kind != reflect.Invalid
			return true
		}
		if err := v.RegisterValidation("lookup", validate, true); err != nil {
			t.Fatal(err)
		}
		type event struct {
			refund
			Asks string `validate:"lookup"`
		}
		panicked := func() (panicked bool) {
			defer func() { panicked = recover() != nil }()
			_ = v.Struct(&event{refund: value})
			return false
		}()
		resolves, certain := codec.Resolves(reflect.TypeFor[event](), name)
		// validator also takes names such as "Lines.]".
		if found && !panicked && !resolves && plainName.MatchString(name) && !strings.Contains(name, "Away") {
			t.Errorf("%q is refused, and validator finds it", name)
		}
		inElements := strings.Contains(name, "[") // an index may be too large, a key not there
		if !found && resolves && certain && !inElements {
			t.Errorf("%q is taken, and validator does not find it", name)
		}
	})
}
