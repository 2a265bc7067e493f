package jsonschema

import (
	"fmt"
	"math/big"
	"reflect"
	"strings"
)

// Contradiction returns two parts of a tag that hold for no value of a t together, or "". Parts
// behind a dive speak of other values, and are not looked at.
func Contradiction(t reflect.Type, parts []string, isOwn func(tag string) bool) (one, other string) {
	f := Field{Type: t, IsOwn: isOwn}
	base := deref(t)
	isInteger := base.Kind() != reflect.Float32 && base.Kind() != reflect.Float64
	var lower, upper []limit
	for _, part := range parts {
		if part == "dive" {
			break
		}
		keywords, ok := f.keywords(base, part)
		if !ok {
			continue
		}
		for keyword, value := range keywords {
			n, isNumber := new(big.Rat).SetString(fmt.Sprint(value))
			if !isNumber {
				continue
			}
			l := limit{part: part, at: n, exclusive: strings.HasPrefix(keyword, "exclusive")}
			if l.exclusive && isInteger {
				l.exclusive = false
				step := big.NewRat(1, 1)
				if keyword == "exclusiveMaximum" {
					step.Neg(step)
				}
				l.at = n.Add(n, step)
			}
			_, isText := value.(string)
			switch {
			case keyword == "const" && !isText:
				lower, upper = append(lower, l), append(upper, l)
			case strings.HasPrefix(keyword, "min"), keyword == "exclusiveMinimum":
				lower = append(lower, l)
			case strings.HasPrefix(keyword, "max"), keyword == "exclusiveMaximum":
				upper = append(upper, l)
			}
		}
	}
	for _, l := range lower {
		for _, u := range upper {
			if cmp := l.at.Cmp(u.at); cmp > 0 || cmp == 0 && (l.exclusive || u.exclusive) {
				return l.part, u.part
			}
		}
	}
	return "", ""
}

// limit is a bound that a part sets.
type limit struct {
	part      string
	at        *big.Rat
	exclusive bool
}
