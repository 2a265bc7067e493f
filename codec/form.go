package codec

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// form is how the values of one Go type, pointers taken off, look as the text of
// one field. A reason that is not empty tells why not, without the value.
type form struct {
	// set converts the text and puts it into to, which is settable and zero.
	set func(text string, to reflect.Value) (reason string)
	// text returns the text of from, which is addressable.
	text func(from reflect.Value) (text, reason string)
	// append is there in place of text where it spares an allocation.
	append func(buf []byte, from reflect.Value) (longer []byte, reason string)
	// refusesBlank is set where "" is no value, so that it gets one reason.
	refusesBlank bool
	// nested is set where the text is JSON, whose parts need a look too.
	nested bool
}

// encode returns the text of from, or leaves it in made, for the position at of
// the pairs.
func (f *form) encode(from reflect.Value, made *scratch, at int) (text, reason string) {
	if f.append == nil {
		return f.text(from)
	}
	start := len(made.texts)
	longer, reason := f.append(made.texts, from)
	if reason == "" {
		made.texts = longer
		made.spans = append(made.spans, span{at, start, len(longer)})
	}
	return "", reason
}

var (
	timeType            = reflect.TypeFor[time.Time]()
	durationType        = reflect.TypeFor[time.Duration]()
	unixType            = reflect.TypeFor[Unix]()
	unixMilliType       = reflect.TypeFor[UnixMilli]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	textMarshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
)

// formOf returns the form of t, or ok = false when a text cannot become a t.
func formOf(t reflect.Type) (f form, ok bool) {
	switch t {
	case timeType:
		return timeForm, true
	case durationType:
		return durationForm, true
	case unixType:
		return unixTypeForm, true
	case unixMilliType:
		return unixMilliTypeForm, true
	case jsonNumberType:
		return jsonNumberForm, true
	}
	if speaksText(t) {
		return methodForm(t), true
	}
	switch t.Kind() {
	case reflect.String:
		return stringForm, true
	case reflect.Bool:
		return boolForm, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intForm, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return uintForm, true
	case reflect.Float32, reflect.Float64:
		return floatForm, true
	case reflect.Interface:
		return anyForm, t.NumMethod() == 0
	case reflect.Slice:
		if isBytes(t) {
			return bytesForm, true
		}
		return jsonForm, true
	case reflect.Struct, reflect.Array, reflect.Map:
		return jsonForm, true
	}
	return form{}, false
}

var stringForm = form{
	set: func(text string, to reflect.Value) string {
		to.SetString(text)
		return ""
	},
	text: func(from reflect.Value) (string, string) { return from.String(), "" },
}

var bytesForm = form{
	set: func(text string, to reflect.Value) string {
		to.SetBytes([]byte(text))
		return ""
	},
	append: func(buf []byte, from reflect.Value) ([]byte, string) { return append(buf, from.Bytes()...), "" },
}

// isBytes tells whether t is a slice of plain bytes. json.RawMessage and its like
// are not: their bytes are JSON and must be checked as JSON.
func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 &&
		!speaksJSON(t) && !speaksJSON(t.Elem()) && !speaksText(t.Elem())
}

var anyForm = form{
	set: func(text string, to reflect.Value) string {
		to.Set(reflect.ValueOf(text))
		return ""
	},
	text: func(from reflect.Value) (string, string) { return textOf(from.Interface()) },
}

var boolForm = form{
	refusesBlank: true,
	set: func(text string, to reflect.Value) string {
		b, err := strconv.ParseBool(text)
		if err != nil {
			return "is neither true nor false"
		}
		to.SetBool(b)
		return ""
	},
	append: func(buf []byte, from reflect.Value) ([]byte, string) { return strconv.AppendBool(buf, from.Bool()), "" },
}

var intForm = form{
	refusesBlank: true,
	set: func(text string, to reflect.Value) string {
		n, err := strconv.ParseInt(text, 10, to.Type().Bits())
		if err != nil {
			return numberReason(err, "is not a decimal integer", to)
		}
		to.SetInt(n)
		return ""
	},
	append: func(buf []byte, from reflect.Value) ([]byte, string) {
		return strconv.AppendInt(buf, from.Int(), 10), ""
	},
}

var uintForm = form{
	refusesBlank: true,
	set: func(text string, to reflect.Value) string {
		n, err := strconv.ParseUint(text, 10, to.Type().Bits())
		if err != nil {
			return numberReason(err, "is not a decimal integer of zero or more", to)
		}
		to.SetUint(n)
		return ""
	},
	append: func(buf []byte, from reflect.Value) ([]byte, string) {
		return strconv.AppendUint(buf, from.Uint(), 10), ""
	},
}

var floatForm = form{
	refusesBlank: true,
	set: func(text string, to reflect.Value) string {
		const malformed = "is not a finite decimal number"
		// ParseFloat alone also takes NaN, Inf, hexadecimal and underscores.
		for i := range len(text) {
			if c := text[i]; (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
				return malformed
			}
		}
		x, err := strconv.ParseFloat(text, to.Type().Bits())
		if err != nil {
			return numberReason(err, malformed, to)
		}
		to.SetFloat(x)
		return ""
	},
	append: func(buf []byte, from reflect.Value) ([]byte, string) {
		x := from.Float()
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return buf, "is not finite"
		}
		return strconv.AppendFloat(buf, x, 'g', -1, from.Type().Bits()), ""
	},
}

// numberReason replaces an error of strconv, which quotes the text.
func numberReason(err error, malformed string, to reflect.Value) string {
	if errors.Is(err, strconv.ErrRange) {
		return "is out of range for " + to.Kind().String()
	}
	return malformed
}

var durationForm = form{
	refusesBlank: true,
	set: func(text string, to reflect.Value) string {
		d, err := time.ParseDuration(text)
		if err != nil {
			return `is not a duration such as "1m30s"`
		}
		to.SetInt(int64(d))
		return ""
	},
	append: func(buf []byte, from reflect.Value) ([]byte, string) {
		return append(buf, time.Duration(from.Int()).String()...), ""
	},
}

var timeForm = form{
	refusesBlank: true,
	set: func(text string, to reflect.Value) string {
		if to.Addr().Interface().(*time.Time).UnmarshalText([]byte(text)) != nil {
			return "is not an RFC 3339 time"
		}
		return ""
	},
	append: func(buf []byte, from reflect.Value) ([]byte, string) {
		t := *from.Addr().Interface().(*time.Time)
		// RFC 3339 has no seconds in a zone's offset: to drop them would move the
		// instant. Zones of before 1920 have them.
		if _, offset := t.Zone(); offset%60 != 0 {
			t = t.UTC()
		}
		longer, err := t.AppendText(buf)
		if err != nil {
			return buf, "has a year or a zone that RFC 3339 cannot express"
		}
		return longer, ""
	},
}

// unixForm and unixMilliForm are the forms of a time.Time with the tag options
// unix and unixmilli.
var (
	unixForm      = unixFormOf(parseUnix, errUnix, time.Time.Unix)
	unixMilliForm = unixFormOf(parseUnixMilli, errUnixMilli, time.Time.UnixMilli)
)

func unixFormOf(parse func(string) (time.Time, bool), malformed error, count func(time.Time) int64) form {
	return form{
		refusesBlank: true,
		set: func(text string, to reflect.Value) string {
			t, ok := parse(text)
			if !ok {
				return "is " + malformed.Error()
			}
			*to.Addr().Interface().(*time.Time) = t
			return ""
		},
		append: func(buf []byte, from reflect.Value) ([]byte, string) {
			return strconv.AppendInt(buf, count(*from.Addr().Interface().(*time.Time)), 10), ""
		},
	}
}

// unixTypeForm and unixMilliTypeForm are the forms of the types.
var (
	unixTypeForm      = ofFirstField(&unixForm)
	unixMilliTypeForm = ofFirstField(&unixMilliForm)
)

func ofFirstField(f *form) form {
	return form{
		refusesBlank: true,
		set:          func(text string, to reflect.Value) string { return f.set(text, to.Field(0)) },
		append: func(buf []byte, from reflect.Value) ([]byte, string) {
			return f.append(buf, from.Field(0))
		},
	}
}

// methodForm is the form of a type with UnmarshalText. Its errors are not shown:
// they are made from the text more often than not.
func methodForm(t reflect.Type) form {
	f := form{
		set: func(text string, to reflect.Value) (reason string) {
			defer func() {
				if recover() != nil {
					reason = "makes its UnmarshalText panic"
				}
			}()
			if to.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)) != nil {
				return "is refused by its UnmarshalText"
			}
			return ""
		},
		text: func(from reflect.Value) (text, reason string) {
			defer func() {
				if recover() != nil {
					text, reason = "", "makes its MarshalText panic"
				}
			}()
			b, err := from.Addr().Interface().(encoding.TextMarshaler).MarshalText()
			if err != nil {
				return "", "is refused by its MarshalText"
			}
			if embedsTime(t) && losesZoneSeconds(from, textMarshaling) {
				return "", zoneReason
			}
			return string(b), ""
		},
	}
	if !reflect.PointerTo(t).Implements(textMarshalerType) {
		reason := fmt.Sprintf("cannot be encoded: %s has UnmarshalText; give it MarshalText too", t)
		f.text = func(reflect.Value) (string, string) { return "", reason }
	}
	return f
}

// speaksText tells whether t decodes itself from text.
func speaksText(t reflect.Type) bool {
	return t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(textUnmarshalerType)
}
