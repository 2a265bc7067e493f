package display

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// None is the cell of a table without a value.
const None = "."

// Number writes a number for people: 12 305.
func Number(n int64) string {
	text := strconv.FormatInt(n, 10)
	if n < 10_000 {
		return text
	}
	var groups []string
	for len(text) > 3 {
		groups = append([]string{text[len(text)-3:]}, groups...)
		text = text[:len(text)-3]
	}
	return strings.Join(append([]string{text}, groups...), " ")
}

// Age writes a duration for people, with two units at most: 0.2s, 38s, 4m12s, 2h05m, 40d.
func Age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 50*time.Millisecond:
		return "0"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}

// Clean returns a text in one line, with the control characters of terminals escaped: names,
// causes and values may come from an attacker.
func Clean(text string) string {
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch _, size := utf8.DecodeRuneInString(text[i:]); {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// OrNone is the cell of a text that may be empty.
func OrNone(text string) string {
	if text == "" {
		return None
	}
	return text
}

// Many is a number of things: 1 topic, 3 topics.
func Many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return Number(int64(n)) + " " + thing + "s"
}

// Entries is a number of entries.
func Entries(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return Number(n) + " entries"
}
