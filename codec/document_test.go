package codec_test

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"millrace/codec"
)

type caseTwins struct {
	Upper int `json:"ID"`
	Lower int `json:"id"`
	tree
}

// refuses checks that Decode has exactly this against the text.
func refuses[T any](t *testing.T, text, reason string) {
	t.Helper()
	name := reflect.TypeFor[T]().String()
	_, err := codec.JSON[T]{}.Decode(codec.FieldsOf("payload", text))
	if err == nil {
		t.Errorf("%s into a %s is taken, want %q", text, name, reason)
		return
	}
	wantLines(t, err, `field "payload" (`+name+`) holds JSON that `+reason)
}

func takes[T any](t *testing.T, text string) {
	t.Helper()
	if _, err := (codec.JSON[T]{}).Decode(codec.FieldsOf("payload", text)); err != nil {
		t.Errorf("%s: %v", text, err)
	}
}

func TestJSONRefusesNamesThatMeet(t *testing.T) {
	t.Parallel()
	const twice = "has a name twice in one object (at byte "
	refuses[order](t, `{"id":"1", "id":"2"}`, twice+"12)")
	refuses[order](t, `{"id":"1", "ID":"2"}`, twice+"12)")
	refuses[*order](t, `{"id":"1","\u0049d":"2"}`, twice+"11)")
	refuses[order](t, "{\"ship\":{},\"\u017fhip\":{}}", twice+"12)")
	refuses[order](t, `{"id":"1","ship":{"City":"a","zip":1,"city":"b"}}`, twice+"38)")
	refuses[[]order](t, `[{"id":"1"},{"items":[{},{"zip":1,"ZIP":2}]}]`, twice+"35)")
	refuses[order](t, `{"id":"1","unknown":1,"unknown":2}`, twice+"23)")
	refuses[order](t, `{"id":"1","unknown":{"a":1,"a":2}}`, twice+"28)")
	refuses[caseTwins](t, `{"ID":1,"id":2,"Id":3}`, twice+"16)")
	refuses[caseTwins](t, `{"name":"a","NAME":"b"}`, twice+"13)")
	refuses[map[string]any](t, `{"a":[{"b":1,"b":2}]}`, twice+"14)")
	refuses[map[string]order](t, `{"a":{"id":"1","Id":"2"}}`, twice+"16)")
	refuses[map[int8]string](t, `{"7":"a","07":"b"}`, twice+"10)")
	refuses[map[uint]string](t, `{"7":"a","07":"b"}`, twice+"10)")
	refuses[any](t, `{"a":1,"\u0061":2}`, twice+"8)")
	refuses[json.RawMessage](t, `[{"a":1,"a":2}]`, twice+"9)")
	many := `{"0":0`
	for i := range 40 {
		many += `,"n` + strconv.Itoa(i) + `":0`
	}
	refuses[any](t, many+`,"n3":1}`, twice+strconv.Itoa(len(many)+2)+")")
	refuses[any](t, many+`,"0":1}`, twice+strconv.Itoa(len(many)+2)+")")

	takes[order](t, `{"id":"1","x":1,"X":2,"items":[{"city":"a"},{"city":"a"}]}`)
	takes[caseTwins](t, `{"ID":1,"id":2,"name":"x"}`)
	takes[map[string]int](t, `{"a":1,"A":2,"7":1,"07":2}`)
	takes[map[string]order](t, `{"id":{"id":"1"},"ID":{"id":"1"}}`)
	takes[any](t, `{"a":{"a":{"a":1}},"A":1,"b":[{"a":1},{"a":1}]}`)
	takes[any](t, many+`}`)

	type event struct {
		Ship address `mapstructure:"ship"`
	}
	_, err := codec.Struct[event]().Decode(codec.FieldsOf("ship", `{"city":"a","CITY":"b"}`))
	wantLines(t, err, `field "ship" (codec_test.address) holds JSON that has a name twice in one object (at byte 13)`)
}

func TestJSONRefusesHalfSurrogatePairs(t *testing.T) {
	t.Parallel()
	const half = "has half a surrogate pair in a string (at byte "
	refuses[any](t, `"\ud800"`, half+"2)")
	refuses[any](t, `"x\uDFFF"`, half+"3)")
	refuses[any](t, `["\ud83d\ude00", "\ud83d x"]`, half+"19)")
	refuses[any](t, `"\ud83d\ud83d\ude00"`, half+"2)")
	refuses[any](t, `"\ude00\ud83d"`, half+"2)")
	refuses[any](t, `"\udc00\udc00"`, half+"2)")
	refuses[any](t, `{"\ud800":1}`, half+"3)")
	refuses[order](t, `{"id":"\\\ud800"}`, half+"10)")
	takes[any](t, `["\ud83d\ude00", "\\ud800", "\ufffd", "\u0041\"\\", "\u00e9\/"]`)
	if got := mustDecode(t, codec.JSON[string]{}, codec.FieldsOf("payload", `"\ud83d\ude00"`)); got != "\U0001f600" {
		t.Errorf("got %q", got)
	}
}

func TestJSONRefusesDepth(t *testing.T) {
	t.Parallel()
	nested := func(depth int) string { return strings.Repeat(`[{"a":`, depth/2) + "1" + strings.Repeat("}]", depth/2) }
	takes[any](t, nested(100))
	takes[any](t, "["+strings.Repeat(nested(98)+",[],{},", 3)+"1]")
	refuses[any](t, nested(102), "nests deeper than 100 levels (at byte 301)")
	refuses[tree](t, strings.Repeat(`{"parent":`, 101), "nests deeper than 100 levels (at byte 1001)")
	refuses[order](t, strings.Repeat("[", 20000), "nests deeper than 100 levels (at byte 101)")
}

func TestJSONEncodesWhatItDecodes(t *testing.T) {
	t.Parallel()
	var deep any
	for range 101 {
		deep = []any{deep}
	}
	for _, r := range []struct {
		value  any
		reason string
	}{
		{deep, "nests deeper than 100 levels"},
		{json.RawMessage(`{"a":1,"a":2}`), "has a name twice in one object"},
		{json.RawMessage(`"\ud800"`), "has half a surrogate pair in a string"},
	} {
		_, err := codec.JSON[any]{}.Encode(r.value)
		wantLines(t, err, `field "payload" (interface {}) would be JSON that `+r.reason+`, which decoding refuses`)
	}
}

// losesNothing is the slow way to tell what codec.JSON[any] takes: token by token.
// It knows nothing of half surrogate pairs.
func losesNothing(text string) bool {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var open []map[string]bool // nil for an array
	isKey := false
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return true
		}
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{':
				open = append(open, map[string]bool{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			if len(open) > 100 {
				return false
			}
			isKey = len(open) > 0 && open[len(open)-1] != nil
			continue
		case string:
			if isKey {
				names := open[len(open)-1]
				if names[token] {
					return false
				}
				names[token] = true
				isKey = false
				continue
			}
		}
		isKey = len(open) > 0 && open[len(open)-1] != nil
	}
}
