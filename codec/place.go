package codec

import (
	"reflect"

	"github.com/mitchellh/mapstructure"
)

// fieldText is a field's text on its way through mapstructure. The name goes
// with it because a hook is not told which field it converts.
type fieldText struct{ name, text string }

// place lets mapstructure find the place of each text in the struct that result
// points to: fields, squashed structs, the remain map, the far end of pointers.
// convert puts the converted text there. The conversions of mapstructure itself
// are not used: they guess, and their errors quote the values.
//
// An error of place is a defect of this package. It must not be shown, as it may
// quote values.
func place(texts map[string]any, result any, convert func(text fieldText, to reflect.Value)) error {
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: result,
		// The default ignores case, and takes a random one of two such names.
		MatchName: func(key, field string) bool { return key == field },
		DecodeHook: func(from, to reflect.Value) (any, error) {
			text, ok := from.Interface().(fieldText)
			if !ok || to.Kind() == reflect.Pointer {
				return from.Interface(), nil
			}
			convert(text, to)
			return settled(to), nil
		},
	})
	if err != nil {
		return err
	}
	return decoder.Decode(texts)
}

// settled returns a value that mapstructure can assign to v, which already has its
// value, without changing it. It would rebuild slices and maps element by element.
func settled(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.Slice:
		return reflect.Zero(v.Type()).Interface()
	case v.Kind() == reflect.Map && !v.IsNil():
		return reflect.MakeMap(v.Type()).Interface()
	default:
		return v.Interface()
	}
}

// isPlaceable tells whether mapstructure can place a value of kind k. It does not
// know the rare kinds at all, and its comparison of arrays panics when their
// elements are slices or maps.
func isPlaceable(k reflect.Kind) bool {
	switch k {
	case reflect.Array, reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.Uintptr, reflect.UnsafePointer:
		return false
	}
	return true
}
