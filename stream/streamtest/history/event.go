package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Kind says what an [Event] of a history is about.
type Kind string

// The kinds of events, with the fields of [Event] that they use besides At, Kind
// and By.
const (
	// Publishing: an event with a Key is about to be published.
	Publishing Kind = "publishing"
	// Published: Redis has acknowledged it as the entry ID.
	Published Kind = "published"
	// PublishUnknown: publishing failed with Text; it may have been written or not.
	PublishUnknown Kind = "publish unknown"
	// Delivered: the entry ID, with its Key and Sum, is about to be handled.
	Delivered Kind = "delivered"
	// Handled: handling of ID is over. Passed says whether that ends its
	// processing; if it does not, or not with success, Text is the error.
	Handled Kind = "handled"
	// Saving: the offset ID is about to be saved under Label.
	Saving Kind = "saving"
	// Saved: the store has said that it is.
	Saved Kind = "saved"
	// Resetting: the offset ID is about to be stored under Label, back from a higher
	// one perhaps.
	Resetting Kind = "resetting"
	// Reset: the store has said that it is.
	Reset Kind = "reset"
	// Loaded: the offset ID was found under Label.
	Loaded Kind = "loaded"
	// FaultBegun: the fault named Text, with what May be seen of it, begins.
	FaultBegun Kind = "fault begun"
	// FaultOver: the fault named Text is over.
	FaultOver Kind = "fault over"
	// Reported: the consumer has told of a loss, in the words of Text: of the
	// entries from ID to To, both included. Empty, the range is open.
	Reported Kind = "reported"
)

// Event is one thing that happened. Which fields it has, its Kind says.
type Event struct {
	At    time.Time `json:"at"`
	Kind  Kind      `json:"kind"`
	By    string    `json:"by,omitempty"` // the consumer or publisher
	ID    string    `json:"id,omitempty"`
	To    string    `json:"to,omitempty"`
	Key   string    `json:"key,omitempty"`
	Label string    `json:"label,omitempty"`
	Text  string    `json:"text,omitempty"`
	// Sum is a hash of the fields of the delivered entry, 0 if it is not known.
	Sum    uint64 `json:"sum,omitempty"`
	Passed bool   `json:"passed,omitempty"`
	May    *Fault `json:"may,omitempty"`
}

// Write writes a history, that is events in the order in which they happened, as
// JSON, one event a line. [Read] reads it back.
func Write(w io.Writer, events []Event) error {
	for _, event := range events {
		if err := writeEvent(w, event); err != nil {
			return err
		}
	}
	return nil
}

// writeEvent writes a line by a single call, so that the lines of several
// processes that append to one file do not mix.
func writeEvent(w io.Writer, event Event) error {
	line, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("history: writing: %w", err)
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("history: writing: %w", err)
	}
	return nil
}

// Read reads what [Write], or a [Recorder] with a writer, has written. An error
// says which line is none of a history. An event of which a process that was killed
// has written a part only is left out: what it is about has not gone on.
func Read(r io.Reader) ([]Event, error) {
	var events []Event
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("history: reading: %w", err)
		}
		parts := splitEvents(line)
		for i, part := range parts {
			var event Event
			wrong := json.Unmarshal(part, &event)
			if wrong == nil {
				events = append(events, event)
			} else if i == len(parts)-1 && err == nil { // nothing was written behind it, but its end
				return nil, fmt.Errorf("history: line %d: %w", n, wrong)
			}
		}
		if err != nil {
			return events, nil
		}
	}
}

// splitEvents returns the events of a line: one, or more if the line of a process that
// was killed has no end. A kernel that kills stops writing at the end of a page.
func splitEvents(line []byte) (parts [][]byte) {
	for len(line) > 0 {
		const begin = `{"at":` // which is in no text, where a quote is escaped
		end := len(line)
		if next := bytes.Index(line[1:], []byte(begin)); next >= 0 {
			end = next + 1
		}
		parts = append(parts, line[:end])
		line = line[end:]
	}
	return parts
}

// Append opens a file to which events are appended, for [Recorder.Out],
// and makes it if it is not there. Several processes may append to one file at
// a time; what they wrote survives their kill.
func Append(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// ReadFile is [Read] of a file.
func ReadFile(path string) ([]Event, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return Read(file)
}
