package compat

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"millrace/codec"
)

// FastStreamMessage is a message of FastStream with its data decoded.
type FastStreamMessage[T any] struct {
	// Headers are texts by their names, such as correlation_id and content-type.
	Headers map[string]string
	Data    T
}

// FastStream is the codec of entries as FastStream 0.6 and later writes them: one field, with
// headers and data in a binary form. Data are JSON as a rule.
type FastStream[T any] struct {
	// Data is the codec of the data, as a field called payload. Default: codec.JSON[T]{}.
	Data codec.Codec[T]
}

const (
	fastStreamField = "__data__"
	fastStreamMagic = "\x89BIN\r\n\x1a\n"
	fastStreamFixed = len(fastStreamMagic) + 2 + 4 + 4
)

// The errors complete the sentence "the field ...".
var (
	errNoBinary   = errors.New("has not the binary form of FastStream")
	errVersion    = errors.New("has a version of FastStream's binary form that is not known")
	errOffsets    = errors.New("has offsets of FastStream's binary form that lead out of it")
	errHeaderCut  = errors.New("has headers of FastStream's binary form that are cut short")
	errHeaderText = errors.New("has a header that is not UTF-8")
	errHeaderTwo  = errors.New("has a header twice")
	errHeaderSize = errors.New("has headers that are too many or too long for FastStream's binary form")
)

// Check reports what the codec of the data reports.
func (f FastStream[T]) Check() error { return check(f.Data) }

// Decode returns the message of an entry. Its error is a [codec.FieldErrors].
func (f FastStream[T]) Decode(fields codec.Fields) (message FastStreamMessage[T], err error) {
	var zero FastStreamMessage[T]
	text, err := required[T](fields, fastStreamField)
	if err != nil {
		return zero, err
	}
	headers, data, err := readFastStream(text)
	if err != nil {
		return zero, fail[T](fastStreamField, err.Error())
	}
	message.Headers = headers
	if message.Data, err = innerOf(f.Data).Decode(codec.FieldsOf(payload, data)); err != nil {
		return zero, renamed(err, fastStreamField)
	}
	return message, nil
}

// Encode returns the one field of a message. Its error is a [codec.FieldErrors].
func (f FastStream[T]) Encode(message FastStreamMessage[T]) ([]string, error) {
	pairs, err := innerOf(f.Data).Encode(message.Data)
	if err != nil {
		return nil, renamed(err, fastStreamField)
	}
	data, err := payloadOf[T](pairs)
	if err != nil {
		return nil, err
	}
	text, err := writeFastStream(message.Headers, data)
	if err != nil {
		return nil, fail[T](fastStreamField, err.Error())
	}
	return []string{fastStreamField, text}, nil
}

// readFastStream takes the binary form apart.
func readFastStream(text string) (headers map[string]string, data string, err error) {
	rest, is := strings.CutPrefix(text, fastStreamMagic)
	if !is {
		return nil, "", errNoBinary
	}
	r := &reader{rest: rest}
	version, err := r.number(2)
	if err != nil {
		return nil, "", errHeaderCut
	}
	if version != 1 {
		return nil, "", errVersion
	}
	at, err := r.number(4)
	behind, cut := r.number(4)
	switch {
	case err != nil || cut != nil:
		return nil, "", errHeaderCut
	case at < fastStreamFixed || behind < at || behind > len(text):
		return nil, "", errOffsets
	}
	r = &reader{rest: text[at:behind]}
	n, err := r.number(2)
	if err != nil || n > len(r.rest)/4 { // a header takes two lengths at least
		return nil, "", errHeaderCut
	}
	for range n {
		name, err := r.sized()
		if err != nil {
			return nil, "", err
		}
		value, err := r.sized()
		if err != nil {
			return nil, "", err
		}
		if headers == nil {
			headers = make(map[string]string, n)
		}
		if _, twice := headers[name]; twice {
			return nil, "", errHeaderTwo
		}
		headers[name] = value
	}
	return headers, text[behind:], nil
}

// sized reads a text behind its length.
func (r *reader) sized() (string, error) {
	n, err := r.number(2)
	if err != nil {
		return "", errHeaderCut
	}
	text, err := r.take(n)
	if err != nil {
		return "", errHeaderCut
	}
	if !utf8.ValidString(text) {
		return "", errHeaderText
	}
	return text, nil
}

func writeFastStream(headers map[string]string, data string) (string, error) {
	if len(headers) > math.MaxUint16 {
		return "", errHeaderSize
	}
	list := binary.BigEndian.AppendUint16(nil, uint16(len(headers)))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		for _, text := range []string{name, headers[name]} {
			if len(text) > math.MaxUint16 {
				return "", errHeaderSize
			}
			if !utf8.ValidString(text) {
				return "", errHeaderText
			}
			list = append(binary.BigEndian.AppendUint16(list, uint16(len(text))), text...)
		}
	}
	if int64(fastStreamFixed+len(list)) > math.MaxUint32 {
		return "", errHeaderSize
	}
	b := binary.BigEndian.AppendUint16([]byte(fastStreamMagic), 1)
	b = binary.BigEndian.AppendUint32(b, uint32(fastStreamFixed))
	b = binary.BigEndian.AppendUint32(b, uint32(fastStreamFixed+len(list))) //nolint:gosec // compared above
	return string(append(b, list...)) + data, nil
}
