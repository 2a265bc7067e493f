package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// line is one line of the table. What it leaves empty does not apply.
type line struct {
	row, what, measured, ratio, cpu, target string
}

// printTable prints the lines as a table in Markdown, aligned for those who read
// it in a terminal.
func printTable(out io.Writer, lines []line) {
	if len(lines) == 0 {
		return
	}
	header := line{row: "row", what: "what", measured: "measured", ratio: "ratio", cpu: "CPU ratio", target: "target"}
	table := [][]string{header.cells(), nil}
	last := ""
	for _, l := range lines {
		cells := l.cells()
		if l.row == last {
			cells[0] = ""
		}
		last = l.row
		table = append(table, cells)
	}
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, width := range widths {
		table[1] = append(table[1], strings.Repeat("-", width))
	}
	for _, cells := range table {
		for i, cell := range cells {
			fmt.Fprintf(out, "| %-*s ", widths[i], cell)
		}
		fmt.Fprintln(out, "|")
	}
}

func (l *line) cells() []string {
	return []string{l.row, l.what, l.measured, l.ratio, l.cpu, l.target}
}

// formatRate returns entries per second, with what digits mean something.
func formatRate(perSecond float64) string {
	switch {
	case perSecond >= 10_000:
		return fmt.Sprintf("%.0fk/s", perSecond/1000)
	case perSecond >= 1000:
		return fmt.Sprintf("%.1fk/s", perSecond/1000)
	default:
		return fmt.Sprintf("%.0f/s", perSecond)
	}
}

func formatRatio(ratio float64) string {
	switch {
	case ratio < 0.1:
		return fmt.Sprintf("%.3f", ratio)
	case ratio < 10:
		return fmt.Sprintf("%.2f", ratio)
	default:
		return fmt.Sprintf("%.1f", ratio)
	}
}

func formatMicros(nanos float64) string { return fmt.Sprintf("%.0f us", nanos/1000) }

func formatMiB(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }
