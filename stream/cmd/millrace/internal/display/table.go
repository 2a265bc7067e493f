package display

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// narrowest is the least width to which the last column of a table is wrapped.
const narrowest = 12

// Table prints rows below a header. A column whose name begins with > is flush right. On a
// terminal that is too narrow the columns come closer, and the last one is wrapped; where that is
// not enough, each row is a block of lines.
func (o *Output) Table(header []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	last := len(header) - 1
	widths := make([]int, len(header))
	titles := make([]string, len(header))
	for i, title := range header {
		titles[i] = strings.TrimPrefix(title, ">")
	}
	all := append([][]string{titles}, rows...)
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	others := 0
	for _, width := range widths[:last] {
		others += width
	}
	gap := 2
	if left := o.Columns - others - gap*last; o.Columns > 0 && left < widths[last] {
		gap = 1
		if left = o.Columns - others - gap*last; left < min(narrowest, widths[last]) {
			return o.blocks(header, rows)
		}
		widths[last] = min(left, widths[last])
	}
	var b strings.Builder
	for n, row := range all {
		before := 0
		for i, cell := range row[:last] {
			b.WriteString(o.cell(n, header[i], cell, widths[i]) + strings.Repeat(" ", gap))
			before += widths[i] + gap
		}
		for i, line := range wrapped(row[last], widths[last]) {
			if i > 0 {
				b.WriteString(strings.Repeat(" ", before))
			}
			b.WriteString(strings.TrimRight(o.cell(n, header[last], line, widths[last]), " ") + "\n")
		}
	}
	return o.Printf("%s", b.String())
}

// cell is a cell with its colour, in the width of its column. Row 0 has the titles.
func (o *Output) cell(row int, header, cell string, width int) string {
	painted := o.paint(cell)
	if row == 0 {
		painted = o.Title(cell)
	}
	padding := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(cell)))
	if strings.HasPrefix(header, ">") {
		return padding + painted
	}
	return painted + padding
}

// wrapped returns a text in lines of a width, between words where that is possible.
func wrapped(text string, width int) (lines []string) {
	rest := []rune(text)
	for len(rest) > width {
		cut, next := width, width
		for i := width; i > 0; i-- {
			if rest[i] == ' ' {
				cut, next = i, i+1
				break
			}
		}
		lines = append(lines, string(rest[:cut]))
		rest = rest[next:]
	}
	return append(lines, string(rest))
}

// blocks prints a table that is too wide: the first cell of a row, and below it the others that
// have something to say.
func (o *Output) blocks(header []string, rows [][]string) error {
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(o.Title(row[0]) + "\n")
		for i, cell := range row {
			if i > 0 && cell != None && cell != "" {
				fmt.Fprintf(&b, "  %-10s %s\n", strings.ToLower(strings.TrimPrefix(header[i], ">")), o.paint(cell))
			}
		}
	}
	return o.Printf("%s", b.String())
}

// Colours of cells.
const (
	Red    = "\x1b[31m"
	Yellow = "\x1b[33m"
	Green  = "\x1b[32m"
)

const (
	bold  = "\x1b[1m"
	plain = "\x1b[0m"
)

// Title returns a text that stands out.
func (o *Output) Title(text string) string {
	if o.Colours == nil || text == "" {
		return text
	}
	return bold + text + plain
}

// paint gives a cell its colour.
func (o *Output) paint(cell string) string {
	if colour := o.Colours[cell]; colour != "" {
		return colour + cell + plain
	}
	return cell
}
