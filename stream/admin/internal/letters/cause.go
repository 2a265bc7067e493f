package letters

import "strings"

// Normalised returns a cause with # in the place of numbers, hexadecimal texts, IDs, addresses
// and quoted values. The name behind "field" stays.
func Normalised(cause string) string {
	var b strings.Builder
	b.Grow(len(cause))
	for i := 0; i < len(cause); {
		switch c := cause[i]; {
		case c == '"' || c == '`' || c == '\'' && !inWord(cause, i-1):
			quoted, end := unquote(cause, i)
			if strings.HasSuffix(cause[:i], "field ") && isName(quoted) {
				b.WriteString(cause[i:end])
			} else {
				b.WriteByte('#')
			}
			i = end
		case isWordByte(c):
			end := i + 1
			for end < len(cause) && isWordByte(cause[end]) {
				end++
			}
			end = id(cause, i, end)
			b.WriteString(shortened(cause[i:end]))
			i = end
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// unquote returns the text between the quote at i and the one that closes it, and where that
// ends. Without a closing quote, all that follows is quoted.
func unquote(text string, i int) (quoted string, end int) {
	for j := i + 1; j < len(text); j++ {
		switch {
		case text[j] == '\\' && text[i] != '`':
			j++
		case text[j] == text[i]:
			return text[i+1 : j], j + 1
		}
	}
	return text[i+1:], len(text)
}

// id returns where an ID ends whose first word is text[i:end]: words with dashes between them,
// of which at least one has a digit and all are hexadecimal, such as those of a UUID or of an
// entry. It is end if that is none.
func id(text string, i, end int) int {
	if !isHex(text[i:end]) {
		return end
	}
	last, digit := end, hasDigit(text[i:end])
	for at := end; at+1 < len(text) && text[at] == '-' && isWordByte(text[at+1]); {
		next := at + 1
		for next < len(text) && isWordByte(text[next]) {
			next++
		}
		if !isHex(text[at+1 : next]) {
			break
		}
		digit = digit || hasDigit(text[at+1:next])
		at, last = next, next
	}
	if !digit {
		return end
	}
	return last
}

// shortened returns a word, or an ID of several words, with # in the place of its numbers.
func shortened(word string) string {
	switch {
	case !hasDigit(word):
		return word
	case isHex(strings.ReplaceAll(word, "-", "")), strings.HasPrefix(word, "0x"), strings.HasPrefix(word, "0X"):
		return "#"
	}
	var b strings.Builder
	for i := range len(word) {
		if !isDigit(word[i]) {
			b.WriteByte(word[i])
		} else if i == 0 || !isDigit(word[i-1]) {
			b.WriteByte('#')
		}
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetterByte(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isWordByte(c byte) bool { return isDigit(c) || isLetterByte(c) || c == '_' }

func inWord(text string, i int) bool { return i >= 0 && isWordByte(text[i]) }

func hasDigit(word string) bool { return strings.ContainsAny(word, "0123456789") }

func isHex(word string) bool { return strings.Trim(word, "0123456789abcdefABCDEF") == "" }

// isName reports whether a text is like the name of a field, and not like a value.
func isName(text string) bool {
	for i := range len(text) {
		if !isLetterByte(text[i]) && text[i] != '_' && text[i] != '.' {
			return false
		}
	}
	return text != "" && len(text) <= 64
}
