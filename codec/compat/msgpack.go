package compat

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"unicode/utf8"
)

// The msgpack of metadata is a map of texts. Its errors complete the sentence "the field ...".
var (
	errCut     = errors.New("holds msgpack that is cut short")
	errNoMap   = errors.New("holds msgpack that is no map")
	errNoText  = errors.New("holds msgpack with a part that is no text")
	errNoUTF8  = errors.New("holds msgpack with a text that is not UTF-8")
	errTwice   = errors.New("holds msgpack with a name twice in one map")
	errBehind  = errors.New("holds msgpack with more behind its map")
	errTooLong = errors.New("holds more members than msgpack can count")
)

// readTexts reads a map of texts. Nothing at all and a nil are an empty map.
func readTexts(data string) (map[string]string, error) {
	if data == "" || data == "\xc0" {
		return nil, nil
	}
	r := &reader{rest: data}
	n, err := r.mapLen()
	if err != nil {
		return nil, err
	}
	if n == 0 && r.rest == "" {
		return nil, nil
	}
	if n > len(r.rest)/2 { // a text takes a byte at least
		return nil, errCut
	}
	texts := make(map[string]string, n)
	for range n {
		name, err := r.text()
		if err != nil {
			return nil, err
		}
		value, err := r.text()
		if err != nil {
			return nil, err
		}
		if _, twice := texts[name]; twice {
			return nil, errTwice
		}
		texts[name] = value
	}
	if r.rest != "" {
		return nil, errBehind
	}
	return texts, nil
}

type reader struct{ rest string }

func (r *reader) take(n int) (string, error) {
	if n < 0 || n > len(r.rest) {
		return "", errCut
	}
	text := r.rest[:n]
	r.rest = r.rest[n:]
	return text, nil
}

// number reads a big-endian number of n bytes.
func (r *reader) number(n int) (int, error) {
	text, err := r.take(n)
	if err != nil {
		return 0, err
	}
	number := 0
	for i := range n {
		number = number<<8 | int(text[i])
	}
	return number, nil
}

func (r *reader) mapLen() (int, error) {
	kind, err := r.number(1)
	switch {
	case err != nil:
		return 0, err
	case kind&0xf0 == 0x80:
		return kind & 0x0f, nil
	case kind == 0xde:
		return r.number(2)
	case kind == 0xdf:
		return r.number(4)
	}
	return 0, errNoMap
}

func (r *reader) text() (string, error) {
	kind, err := r.number(1)
	if err != nil {
		return "", err
	}
	n := kind & 0x1f
	switch {
	case kind&0xe0 == 0xa0:
	case kind == 0xd9:
		n, err = r.number(1)
	case kind == 0xda:
		n, err = r.number(2)
	case kind == 0xdb:
		n, err = r.number(4)
	default:
		return "", errNoText
	}
	if err != nil {
		return "", err
	}
	text, err := r.take(n)
	if err == nil && !utf8.ValidString(text) {
		err = errNoUTF8
	}
	return text, err
}

// writeTexts writes a map of texts, in the order of its names.
func writeTexts(texts map[string]string) (string, error) {
	var b []byte
	switch n := len(texts); {
	case n < 16:
		b = append(b, 0x80|byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
	case int64(n) <= math.MaxUint32:
		b = binary.BigEndian.AppendUint32(append(b, 0xdf), uint32(n))
	default:
		return "", errTooLong
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		for _, text := range []string{name, texts[name]} {
			if !utf8.ValidString(text) {
				return "", errNoUTF8
			}
			b = appendText(b, text)
		}
	}
	return string(b), nil
}

func appendText(b []byte, text string) []byte {
	switch n := len(text); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		b = append(b, 0xd9, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n)) //nolint:gosec // Redis has no text of 4 GiB
	}
	return append(b, text...)
}
