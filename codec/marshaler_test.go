package codec_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/codec"
)

// madeBy has the methods of its time: as text and as JSON it is the time alone.
type madeBy struct {
	time.Time
	By   string
	Note string `json:"-"`
}

// madeByPointer is madeBy with a pointer, which is nil in its zero value.
type madeByPointer struct {
	*time.Time
	By string
}

// onlyTime hides nothing.
type onlyTime struct{ time.Time }

// keptOut hides only fields that are to be left out.
type keptOut struct {
	time.Time
	By   string `json:"-"`
	Also string `mapstructure:"-"`
	own  string
}

// ownMethods embeds a time and writes the rest too.
type ownMethods struct {
	time.Time
	By string
}

func (o ownMethods) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatInt(o.Unix(), 10) + "/" + o.By), nil
}

func (o *ownMethods) UnmarshalText(text []byte) error {
	seconds, by, _ := strings.Cut(string(text), "/")
	n, err := strconv.ParseInt(seconds, 10, 64)
	o.Time, o.By = time.Unix(n, 0).UTC(), by
	return err
}

func (o ownMethods) MarshalJSON() ([]byte, error) {
	text, _ := o.MarshalText()
	return json.Marshal(string(text))
}

func (o *ownMethods) UnmarshalJSON(text []byte) error {
	var s string
	return errors.Join(json.Unmarshal(text, &s), o.UnmarshalText([]byte(s)))
}

// jsonOnly writes JSON and no text; sized embeds it.
type jsonOnly struct{ n int }

func (j jsonOnly) MarshalJSON() ([]byte, error)        { return strconv.AppendInt(nil, int64(j.n), 10), nil }
func (j *jsonOnly) UnmarshalJSON(b []byte) (err error) { return json.Unmarshal(b, &j.n) }

type sized struct {
	jsonOnly
	Size []int
}

// twoTimes has the methods of the time that is less deep, and eitherTime of none.
type twoTimes struct {
	time.Time
	onlyTime
}

type eitherTime struct {
	onlyTime
	LaterTime
}

type LaterTime struct{ time.Time }

// maybe is as uuid.NullUUID: the text of its zero value is none that it reads.
type maybe struct{ Set bool }

func (m maybe) MarshalText() ([]byte, error) {
	if !m.Set {
		return []byte("null"), nil
	}
	return []byte("set"), nil
}

func (m *maybe) UnmarshalText(text []byte) error {
	if m.Set = string(text) == "set"; !m.Set {
		return errors.New("neither")
	}
	return nil
}

// level writes a name in JSON and reads none.
type level int

func (l level) MarshalJSON() ([]byte, error) { return []byte(`"low"`), nil }

// grows reads back another value than the one that it writes.
type grows struct{ n int }

func (g grows) MarshalText() ([]byte, error) { return []byte(strconv.Itoa(g.n)), nil }
func (g *grows) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	g.n = n + 1
	return err
}

// wary panics for its own zero text; shy refuses to write its zero value.
type wary struct{ text string }

func (w wary) MarshalText() ([]byte, error)     { return []byte(w.text), nil }
func (w *wary) UnmarshalText(text []byte) error { w.text = string(text[:1]); return nil }

type shy struct{ text string }

func (s shy) MarshalText() ([]byte, error) {
	if s.text == "" {
		return nil, errors.New("empty")
	}
	return []byte(s.text), nil
}

func (s *shy) UnmarshalText(text []byte) error {
	if s.text = string(text); s.text == "" {
		return errors.New("empty")
	}
	return nil
}

// byPointer has its marshal method on its pointer.
type byPointer struct{ n int }

func (b *byPointer) MarshalJSON() ([]byte, error)    { return strconv.AppendInt(nil, int64(b.n), 10), nil }
func (b *byPointer) UnmarshalJSON(text []byte) error { return json.Unmarshal(text, &b.n) }

func hidden(typ, format, fields string) string {
	return typ + " has the marshal methods of a type that it embeds, whose " + format + " lacks " + fields +
		`; give it methods of its own, embed the type under a field name, or tag what is to be left out "-"`
}

func unread(typ, format string) string {
	return typ + " writes its zero value as " + format + " that it does not read back; use a pointer, correct its methods, or let the one that writes refuse it"
}

func TestCheckRefusesPromotedMethodsThatHideFields(t *testing.T) {
	t.Parallel()
	type parts struct {
		Made madeBy
		List []madeByPointer
	}
	type event struct {
		Made    madeBy         `mapstructure:"made"`
		Pointer *madeByPointer `mapstructure:"pointer"`
		Sized   sized          `mapstructure:"sized"`
		Parts   parts          `mapstructure:"parts"`
		Two     twoTimes       `mapstructure:"two"`
		Either  eitherTime     `mapstructure:"either"`
	}
	const apart = `JSON takes the embedded %s apart and calls none of its methods; give it a name with a json tag, or tag it json:"-"`
	wantLines(t, check(t, codec.Struct[event]()),
		"codec_test.event.Made: "+hidden("codec_test.madeBy", "text", "By"),
		"codec_test.event.Pointer: "+hidden("codec_test.madeByPointer", "text", "By"),
		"codec_test.event.Sized: "+hidden("codec_test.sized", "JSON", "Size"),
		"codec_test.event.Parts.Made: "+hidden("codec_test.madeBy", "JSON", "By"),
		"codec_test.event.Parts.List: "+hidden("codec_test.madeByPointer", "JSON", "By"),
		"codec_test.event.Two: "+hidden("codec_test.twoTimes", "text", "onlyTime"),
		"codec_test.event.Either.onlyTime: "+strings.Replace(apart, "%s", "codec_test.onlyTime", 1),
		"codec_test.event.Either.LaterTime: "+strings.Replace(apart, "%s", "codec_test.LaterTime", 1),
	)
	// The event itself, in JSON.
	wantLines(t, check(t, codec.JSON[madeBy]{}), "codec_test.madeBy: "+hidden("codec_test.madeBy", "JSON", "By"))
}

func TestCheckTakesMethodsThatHideNothing(t *testing.T) {
	t.Parallel()
	type event struct {
		Only  onlyTime              `mapstructure:"only"`
		Kept  keptOut               `mapstructure:"kept"`
		Own   ownMethods            `mapstructure:"own"`
		List  []ownMethods          `mapstructure:"list"`
		Unix  codec.Unix            `mapstructure:"unix"`
		Big   map[string]*big.Int   `mapstructure:"big"`
		Maybe map[string]*byPointer `mapstructure:"maybe"`
		Bytes []byPointer           `mapstructure:"bytes"`
	}
	_ = keptOut{own: ""}.own
	c := codec.Struct[event]()
	if err := check(t, c); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1700000000, 0).UTC()
	roundTripped(t, c, event{
		Only: onlyTime{at}, Kept: keptOut{Time: at}, Own: ownMethods{at, "ada"}, List: []ownMethods{{at, "bob"}}, Unix: codec.Unix{Time: at},
		Maybe: map[string]*byPointer{"a": {1}}, Bytes: []byPointer{{2}},
	})
	// An event that embeds a time has a field for it.
	type stamped struct {
		time.Time
		By string
	}
	roundTripped(t, codec.Struct[stamped](), stamped{at, "ada"})
}

func TestCheckReadsTheZeroValueBack(t *testing.T) {
	t.Parallel()
	type parts struct {
		Level level
		Wary  wary
		Array [2]maybe
	}
	type event struct {
		Maybe maybe `mapstructure:"maybe"`
		Grows grows `mapstructure:"grows"`
		Wary  wary  `mapstructure:"wary"`
		Shy   shy   `mapstructure:"shy"`
		Parts parts `mapstructure:"parts"`
	}
	wantLines(t, check(t, codec.Struct[event]()),
		"codec_test.event.Maybe: "+unread("codec_test.maybe", "text"),
		"codec_test.event.Grows: "+unread("codec_test.grows", "text"),
		"codec_test.event.Wary: "+unread("codec_test.wary", "text"),
		"codec_test.event.Parts.Level: "+unread("codec_test.level", "JSON"),
		"codec_test.event.Parts.Wary: "+unread("codec_test.wary", "JSON"),
		"codec_test.event.Parts.Array: "+unread("codec_test.maybe", "JSON"),
	)
	// A zero value that is never published is as it may be.
	type sound struct {
		Pointer  *maybe          `mapstructure:"pointer"`
		Required maybe           `mapstructure:"required" validate:"required"`
		List     []maybe         `mapstructure:"list"`
		Map      map[string]wary `mapstructure:"map"`
		Parts    struct {
			Required maybe  `validate:"required"`
			Omitted  maybe  `json:"omitted,omitzero"`
			Pointer  *level `json:"pointer"`
		} `mapstructure:"parts"`
	}
	if err := check(t, codec.Struct[sound]()); err != nil {
		t.Error(err)
	}
}

func TestCheckRefusesMethodsThatJSONDoesNotCall(t *testing.T) {
	t.Parallel()
	type inner struct {
		N    [1]byPointer
		Left byPointer `json:"-"`
	}
	type event struct {
		Direct map[string]byPointer `mapstructure:"direct"`
		Inner  map[string]inner     `mapstructure:"inner"`
		Big    []map[string]big.Int `mapstructure:"big"`
	}
	const uncalled = " is one of its pointer, which JSON does not call for the elements of a map; make it a method of the value, or use a map of pointers"
	wantLines(t, check(t, codec.Struct[event]()),
		"codec_test.event.Direct: the marshal method of codec_test.byPointer"+uncalled,
		"codec_test.event.Inner: the marshal method of codec_test.byPointer"+uncalled,
		"codec_test.event.Big: the marshal method of big.Int"+uncalled,
	)
}

type named struct {
	ID   string `json:"id"`
	Name string
}

type NamedToo struct {
	Name string
	Note string `json:"note"`
}

func TestCheckRefusesAmbiguousJSONNames(t *testing.T) {
	t.Parallel()
	type parts struct {
		named
		NamedToo
		C     int `json:"D"`
		D     int
		Notes string `json:"note"`
		Case  int    `json:"case"`
		Upper int    `json:"CASE"`
		Out   string `json:"-"`
		Out2  string `json:"-"`
	}
	type event struct {
		Parts []parts `mapstructure:"parts"`
	}
	lost := func(path, name, other string) string {
		return "codec_test.event.Parts." + path + `: the JSON name "` + name + `" is taken by ` + other + `, and one of them at least would be lost; rename one, or tag it json:"-"`
	}
	wantLines(t, check(t, codec.Struct[event]()),
		lost("D", "D", "C"), lost("NamedToo.Name", "Name", "named.Name"), lost("NamedToo.Note", "note", "Notes"))
	// A pair inside an embedded struct is told once.
	type pair struct {
		A int `json:"B"`
		B int
	}
	type outer struct{ pair }
	wantLines(t, check(t, codec.JSON[outer]{}),
		`codec_test.outer.pair.B: the JSON name "B" is taken by A, and one of them at least would be lost; rename one, or tag it json:"-"`)
}

func TestCheckRefusesNamesInTheOtherTag(t *testing.T) {
	t.Parallel()
	type parts struct {
		City string `mapstructure:"city"`
		Zip  string `mapstructure:"zip_code"`
		Out  string `mapstructure:"-"`
	}
	type event struct {
		ID     string `json:"id"`
		Name   string `json:"name" mapstructure:"name"`
		Same   string `json:"Same"`
		Secret string `json:"-"`
		Parts  parts  `json:"parts" mapstructure:"parts"`
		Empty  string `json:",omitempty"`
	}
	wantLines(t, check(t, codec.Struct[event]()),
		`codec_test.event: ID, Secret: a json tag and no mapstructure tag, which names the fields of an entry; give each a mapstructure tag too, or use the JSON codec, which puts the whole value into one field`,
		`codec_test.event.Parts: Zip, Out of codec_test.parts: a mapstructure tag and no json tag, which names the parts of JSON; give each a json tag too`)
	type squashed struct {
		Base named `mapstructure:",squash"`
	}
	wantLines(t, check(t, codec.Struct[squashed]()),
		`codec_test.squashed.Base: ID: a json tag and no mapstructure tag, which names the fields of an entry; give each a mapstructure tag too, or use the JSON codec, which puts the whole value into one field`)
	if err := check(t, codec.JSON[named]{}); err != nil {
		t.Error(err)
	}
}
