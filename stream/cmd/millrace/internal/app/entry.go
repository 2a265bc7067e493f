package app

import (
	"fmt"
	"strings"

	"millrace/stream"
	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// entryView is an entry, as it is printed.
type entryView struct {
	Topic   string        `json:"topic,omitempty"`
	ID      string        `json:"id"`
	At      string        `json:"at"`
	Fields  display.Pairs `json:"fields"`
	Headers display.Pairs `json:"headers,omitempty"`
}

func viewEntry(e stream.Entry) entryView {
	view := entryView{ID: e.ID, At: stamp(e.ID)}
	view.Fields, view.Headers = display.Split(e.Fields)
	return view
}

// text is the entry for people: its ID and time, and a line for each field.
func (s *session) text(e stream.Entry, topic bool) string {
	var b strings.Builder
	name := ""
	if topic {
		name = display.Clean(e.Stream) + "  "
	}
	fmt.Fprintf(&b, "%s%s  %s\n", name, s.out.Title(e.ID), s.instant(admin.TimeOf(e.ID)))
	b.WriteString(display.FieldLines(e.Fields))
	return b.String()
}
