package display

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// The formats of output.
const (
	FormatTable  = "table"
	FormatJSON   = "json"
	FormatNDJSON = "ndjson"
)

// Formats are all formats.
var Formats = []string{FormatTable, FormatJSON, FormatNDJSON}

// Output prints the data of a command.
type Output struct {
	io.Writer
	// Format is one of [Formats].
	Format string
	// Columns is the width of the terminal; 0 if it is none.
	Columns int
	// Colours are the colours of cells, by their text. Nil is no colour at all, not even for
	// titles. No cell says anything by its colour alone.
	Colours map[string]string
}

// Heading prints a line above a table, on the terminal alone.
func (o *Output) Heading(format string, args ...any) error {
	if o.Format != FormatTable {
		return nil
	}
	return o.Printf("%s\n\n", o.Title(fmt.Sprintf(format, args...)))
}

// Printf prints a text as it is. The caller cleans it, see [Clean].
func (o *Output) Printf(format string, args ...any) error {
	_, err := fmt.Fprintf(o, format, args...)
	return err
}

// Emit prints items: as a table with the given header and the cells of each item, as one JSON
// array, or as one JSON object in each line. cells may be nil where the format is not that of
// tables.
func Emit[T any](o *Output, header []string, items []T, cells func(T) []string) error {
	switch o.Format {
	case FormatTable:
		rows := make([][]string, len(items))
		for i, item := range items {
			rows[i] = cells(item)
		}
		return o.Table(header, rows)
	case FormatJSON:
		if items == nil {
			items = []T{}
		}
		return o.JSON(items)
	}
	for _, item := range items {
		if err := o.JSON(item); err != nil {
			return err
		}
	}
	return nil
}

// JSON prints one value, in one line for FormatNDJSON.
func (o *Output) JSON(value any) error {
	encoder := json.NewEncoder(o)
	encoder.SetEscapeHTML(false)
	if o.Format == FormatJSON {
		encoder.SetIndent("", "  ")
	}
	return encoder.Encode(value)
}

// List prints items one after the other, as they come. The zero value needs its Output.
type List struct {
	*Output
	printed bool
}

// Add prints an item as JSON, or else the text of it.
func (l *List) Add(value any, text func() string) error {
	if l.Format == FormatTable {
		return l.Printf("%s", text())
	}
	if l.Format == FormatNDJSON {
		return l.JSON(value)
	}
	before := "[\n  "
	if l.printed {
		before = ",\n  "
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("  ", "  ")
	if err := encoder.Encode(value); err != nil {
		return err
	}
	l.printed = true
	return l.Printf("%s%s", before, strings.TrimSuffix(b.String(), "\n"))
}

// End prints the end of the list.
func (l *List) End() error {
	switch {
	case l.Format != FormatJSON:
		return nil
	case l.printed:
		return l.Printf("\n]\n")
	default:
		return l.Printf("[]\n")
	}
}
