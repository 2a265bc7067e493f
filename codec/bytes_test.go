package codec_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"millrace/codec"
)

type parcel struct {
	ID    string `validate:"required,max=8"`
	Items []struct {
		Name string `validate:"required"`
	} `validate:"dive"`
}

func gobOf[T any](name string) codec.Field[T] {
	return codec.Field[T]{
		Name: name,
		Marshal: func(value T) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(value)
			return b.Bytes(), err
		},
		Unmarshal: func(data []byte, value *T) error { return gob.NewDecoder(bytes.NewReader(data)).Decode(value) },
	}
}

func TestField(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "gob"} {
		c := gobOf[parcel](name)
		if err := check(t, codec.Codec[parcel](c)); err != nil {
			t.Fatal(err)
		}
		pairs, err := c.Encode(parcel{ID: "p-1"})
		want := name
		if want == "" {
			want = "payload"
		}
		if err != nil || len(pairs) != 2 || pairs[0] != want {
			t.Fatalf("encoded as %q, %v", pairs, err)
		}
		if got := mustDecode(t, codec.Codec[parcel](c), withHeaders(append(pairs, "other", "x")...)); got.ID != "p-1" {
			t.Errorf("decoded %+v", got)
		}
		// A pointer has the same tags.
		if got := mustDecode(t, codec.Codec[*parcel](gobOf[*parcel](name)), codec.FieldsOf(pairs...)); got.ID != "p-1" {
			t.Errorf("decoded %+v", got)
		}
		for i := range pairs[1] { // cut anywhere
			_, err := c.Decode(codec.FieldsOf(pairs[0], pairs[1][:i]))
			wantLines(t, err, `field "`+want+`" (codec_test.parcel) is refused by its Unmarshal`)
		}
	}
}

var errNosy = errors.New("S3CR3T is bad")

func TestFieldRefuses(t *testing.T) {
	t.Parallel()
	c := gobOf[parcel]("gob")
	_, err := c.Decode(codec.FieldsOf("payload", "S3CR3T"))
	wantLines(t, err, `field "gob" (codec_test.parcel) is missing`)
	_, err = c.Encode(parcel{})
	wantLines(t, err, `field "gob.ID" (string) fails "required"`)
	long := parcel{ID: strings.Repeat("x", 9), Items: make([]struct {
		Name string `validate:"required"`
	}, 2)}
	plain := c
	plain.Unmarshal = func(_ []byte, value *parcel) error { *value = long; return nil }
	got, err := plain.Decode(codec.FieldsOf("gob", ""))
	wantLines(t, err, `field "gob.ID" (string) fails "max=8"`, `field "gob.Items[0].Name" (string) fails "required"`, `field "gob.Items[1].Name" (string) fails "required"`)
	if got.ID != "" {
		t.Errorf("the value beside the error is %+v", got)
	}

	nosy := codec.Field[int]{Marshal: func(int) ([]byte, error) { return nil, errNosy }, Unmarshal: func([]byte, *int) error { return errNosy }}
	_, err = nosy.Decode(codec.FieldsOf("payload", "S3CR3T"))
	wantLines(t, err, `field "payload" (int) is refused by its Unmarshal`)
	if !errors.Is(err, errNosy) {
		t.Errorf("the cause is lost: %v", err)
	}
	_, err = nosy.Encode(7)
	wantLines(t, err, `field "payload" (int) is refused by its Marshal`)
	if !errors.Is(err, errNosy) {
		t.Errorf("the cause is lost: %v", err)
	}
	rash := codec.Field[int]{Marshal: func(int) ([]byte, error) { panic("S3CR3T") }, Unmarshal: func([]byte, *int) error { panic("S3CR3T") }}
	_, err = rash.Decode(codec.FieldsOf("payload", "S3CR3T"))
	wantLines(t, err, `field "payload" (int) makes its Unmarshal panic`)
	_, err = rash.Encode(7)
	wantLines(t, err, `field "payload" (int) makes its Marshal panic`)
}

func TestFieldChecks(t *testing.T) {
	t.Parallel()
	type badTag struct {
		ID string `validate:"requird"`
	}
	c := codec.Codec[badTag](codec.Field[badTag]{})
	want := []string{
		"codec.Field[codec_test.badTag]: Marshal or Unmarshal is nil; give both",
		`codec_test.badTag.ID: validate tag "requird": "requird" is undefined; correct it, or define it with WithValidation`,
	}
	wantLines(t, check(t, c), want...)
	_, err := c.Decode(codec.FieldsOf("payload", ""))
	wantLines(t, err, want...)
	_, err = c.Encode(badTag{})
	wantLines(t, err, want...)
	if _, err := gobOf[badTag]("").Encode(badTag{"x"}); err == nil {
		t.Error("a tag that is not sound is no error")
	}
}

func TestRaw(t *testing.T) {
	t.Parallel()
	var c codec.Codec[[]byte] = codec.Raw{}
	for _, text := range []string{"", "x", "\x00\xff", " "} {
		pairs, err := c.Encode([]byte(text))
		if err != nil || !slices.Equal(pairs, []string{"payload", text}) {
			t.Errorf("encoded as %q, %v", pairs, err)
		}
		if got := mustDecode(t, c, codec.FieldsOf("other", "y", "payload", text)); string(got) != text {
			t.Errorf("decoded %q", got)
		}
	}
	_, err := codec.Raw{Field: "body"}.Decode(codec.FieldsOf("payload", "x"))
	wantLines(t, err, `field "body" ([]uint8) is missing`)
}

type outboxRow struct {
	ID      string             `json:"id" mapstructure:"id"`
	Payload codec.Text[parcel] `json:"payload" mapstructure:"payload"`
}

func TestTextInJSON(t *testing.T) {
	t.Parallel()
	c := codec.JSON[outboxRow]{}
	const text = `{"id":"1","payload":"{\"ID\":\"p-1\",\"Items\":[{\"Name\":\"tea\"}]}"}`
	got := mustDecode(t, codec.Codec[outboxRow](c), codec.FieldsOf("payload", text))
	if got.Payload.Value.ID != "p-1" || got.Payload.Value.Items[0].Name != "tea" {
		t.Errorf("decoded %+v", got)
	}
	if pairs, err := c.Encode(got); err != nil || pairs[1] != text {
		t.Errorf("encoded as %q, %v", pairs, err)
	}
	// In a field of an entry it is the JSON alone.
	flat := codec.Struct[outboxRow]()
	pairs, err := flat.Encode(got)
	if err != nil || pairs[3] != `{"ID":"p-1","Items":[{"Name":"tea"}]}` {
		t.Errorf("encoded as %q, %v", pairs, err)
	}
	if again := mustDecode(t, flat, codec.FieldsOf(pairs...)); again.Payload.Value.ID != "p-1" {
		t.Errorf("decoded %+v", again)
	}
}

func TestTextRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 101) + strings.Repeat("]", 101)
	for _, inner := range []string{"", "null", " null ", "x", `{"ID":"S3CR3T"`, `{"ID":7}`, `{"ID":"a","ID":"S3CR3T"}`, `{"Items":[null]}`, `{"ID":"\ud800"}`, deep} {
		quoted, err := json.Marshal(inner)
		if err != nil {
			t.Fatal(err)
		}
		_, err = codec.JSON[outboxRow]{}.Decode(codec.FieldsOf("payload", `{"id":"1","payload":`+string(quoted)+`}`))
		wantLines(t, err, `field "payload" (codec_test.outboxRow) holds JSON with a part that its Go type refuses`)
		_, err = codec.Struct[outboxRow]().Decode(codec.FieldsOf("id", "1", "payload", inner))
		wantLines(t, err, `field "payload" (codec.Text[millrace/codec_test.parcel]) is refused by its UnmarshalText`)
		var text codec.Text[parcel]
		if err := text.UnmarshalText([]byte(inner)); err == nil || strings.Contains(err.Error(), "S3CR3T") || text.Value.ID != "" {
			t.Errorf("%q: %v, %+v", inner, err, text)
		}
	}
	_, err := codec.JSON[outboxRow]{}.Decode(codec.FieldsOf("payload", `{"id":"1","payload":"{\"ID\":\"\"}"}`))
	wantLines(t, err, `field "payload.payload.Value.ID" (string) fails "required"`)
	if _, err := (codec.Text[[]int]{}).MarshalText(); err == nil || err.Error() != "codec.Text: the value would be JSON null, which decoding refuses" {
		t.Errorf("a nil: %v", err)
	}
	if _, err := (codec.Text[string]{Value: "S3CR3T\xff"}).MarshalText(); err == nil || strings.Contains(err.Error(), "S3CR3T") {
		t.Errorf("not UTF-8: %v", err)
	}
}

// The type in a Text is looked into.
func TestTextIsChecked(t *testing.T) {
	t.Parallel()
	type carrier struct {
		In codec.Text[struct{ Done chan int }] `json:"in" mapstructure:"in"`
	}
	for _, err := range []error{check(t, codec.Struct[carrier]()), check(t, codec.Codec[carrier](codec.JSON[carrier]{}))} {
		if err == nil || !strings.Contains(err.Error(), `.Value.Done: a chan has no JSON; remove it, or tag it json:"-"`) {
			t.Errorf("Check: %v", err)
		}
	}
}
