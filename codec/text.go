package codec

import (
	"fmt"
	"strconv"
)

// textOf returns the text that a value in a remain map or in a field of type any
// stands for. Only predeclared types count: a time.Duration, say, has
// more than one text, and a guess would hide a mistake.
func textOf(value any) (text, reason string) {
	switch v := value.(type) {
	case string:
		return v, ""
	case []byte:
		return string(v), ""
	case bool:
		return strconv.FormatBool(v), ""
	case int:
		return strconv.Itoa(v), ""
	case int8:
		return strconv.FormatInt(int64(v), 10), ""
	case int16:
		return strconv.FormatInt(int64(v), 10), ""
	case int32:
		return strconv.FormatInt(int64(v), 10), ""
	case int64:
		return strconv.FormatInt(v, 10), ""
	case uint:
		return strconv.FormatUint(uint64(v), 10), ""
	case uint8:
		return strconv.FormatUint(uint64(v), 10), ""
	case uint16:
		return strconv.FormatUint(uint64(v), 10), ""
	case uint32:
		return strconv.FormatUint(uint64(v), 10), ""
	case uint64:
		return strconv.FormatUint(v, 10), ""
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 32), ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), ""
	case nil:
		return "", "holds nil; a stream field holds text"
	}
	return "", fmt.Sprintf("holds a Go value of type %T; a stream field holds text", value)
}
