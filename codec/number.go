package codec

import (
	"encoding/json"
	"reflect"
	"strings"
)

// jsonNumberForm is the form of a json.Number, which is not any text.
var jsonNumberForm = form{
	refusesBlank: true,
	set: func(text string, to reflect.Value) string {
		if !isJSONNumber(text) {
			return "is not a JSON number"
		}
		to.SetString(text)
		return ""
	},
	text: func(from reflect.Value) (string, string) {
		if !isJSONNumber(from.String()) {
			return "", "holds a json.Number that is not a number"
		}
		return from.String(), ""
	},
}

func isJSONNumber(text string) bool {
	return text != "" && (text[0] == '-' || text[0] >= '0' && text[0] <= '9') &&
		text[len(text)-1] > ' ' && json.Valid([]byte(text))
}

// decode is json.Unmarshal of the text after look. A number in an any becomes a
// json.Number where the options say so, or where a float64 would not keep it.
func (d *document) decode(target any) error {
	if !d.rounds && !d.useNumber {
		return json.Unmarshal([]byte(d.text), target)
	}
	decoder := json.NewDecoder(strings.NewReader(d.text))
	decoder.UseNumber()
	if err := decoder.Decode(target); err != nil {
		return err
	}
	if rest := d.text[decoder.InputOffset():]; strings.Trim(rest, " \t\r\n") != "" {
		return json.Unmarshal([]byte(d.text), target) // for its error
	}
	if !d.useNumber {
		settleNumbers(reflect.ValueOf(target).Elem())
	}
	return nil
}

// settleNumbers makes a float64 of each json.Number in an any that a float64
// keeps. A type that decodes itself holds none.
func settleNumbers(v reflect.Value) {
	if marshalsItself(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			v.Set(reflect.ValueOf(settledNumber(v.Interface())))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			settleNumbers(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			settleNumbers(v.Index(i))
		}
	case reflect.Map:
		elem := reflect.New(v.Type().Elem()).Elem()
		for _, key := range v.MapKeys() {
			elem.Set(v.MapIndex(key))
			settleNumbers(elem)
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		for i, f := 0, v.Type(); i < f.NumField(); i++ {
			if name, inlined := jsonNameOf(f.Field(i)); name != "" || inlined {
				settleNumbers(v.Field(i))
			}
		}
	}
}

// settledNumber is settleNumbers for the content of an any.
func settledNumber(value any) any {
	switch value := value.(type) {
	case json.Number:
		if isKept(value.String()) {
			x, _ := value.Float64()
			return x
		}
	case []any:
		for i := range value {
			value[i] = settledNumber(value[i])
		}
	case map[string]any:
		for key := range value {
			value[key] = settledNumber(value[key])
		}
	}
	return value
}
