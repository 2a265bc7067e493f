package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// terminal is an output that cuts each line to the terminal's width: a line that wraps
// would not be overwritten by the next state of the progress bar. Each Write is to have
// whole lines, or the whole of a line that changes.
type terminal struct {
	out   io.Writer
	width func() int // columns, asked at each Write: a window can be resized
}

// clearLine goes back to the begin of the line, and erases it.
const clearLine = "\r\x1b[K"

func (t *terminal) Write(p []byte) (int, error) {
	width := t.width()
	lines := strings.Split(string(p), "\n")
	for i, line := range lines {
		text, changes := strings.CutPrefix(line, clearLine)
		if lines[i] = cut(text, width); changes {
			lines[i] = clearLine + lines[i]
		}
	}
	if _, err := io.WriteString(t.out, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}

// cut shortens a line to the given number of columns, with dots in place of the rest.
func cut(line string, width int) string {
	const dots = "..."
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	if width <= len(dots) {
		return dots[:max(width, 0)]
	}
	return string([]rune(line)[:width-len(dots)]) + dots
}

// usualWidth is the width of a terminal that does not tell.
const usualWidth = 80
