package resp

import "strconv"

// CommandOf returns a command as it is sent.
func CommandOf(words []any) []byte {
	command := append([]byte("*"), strconv.Itoa(len(words))...)
	for _, word := range words {
		text := ""
		switch word := word.(type) {
		case string:
			text = word
		case int:
			text = strconv.Itoa(word)
		case int64:
			text = strconv.FormatInt(word, 10)
		}
		command = append(append(command, "\r\n$"...), strconv.Itoa(len(text))...)
		command = append(append(command, "\r\n"...), text...)
	}
	return append(command, "\r\n"...)
}
