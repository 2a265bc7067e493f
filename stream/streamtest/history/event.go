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

// Kind is the kind of an [Event] in a history.
type Kind string

// The kinds of events, with the fields of [Event] that each kind uses besides At, Kind and By.
const (
	// Publishing: a message with a Key is about to be published.
	Publishing Kind = "publishing"
	// Published: Redis has acknowledged the message with a Key as the entry ID.
	Published Kind = "published"
	// PublishUnknown: publishing the message with a Key failed with the error Text. The entry
	// may have been written or not.
	PublishUnknown Kind = "publish unknown"
	// Delivered: the entry ID, with its Key and Sum, is about to be handled.
	Delivered Kind = "delivered"
	// Handled: the handling of the entry ID, with its Key, is over. Passed says whether the
	// handling ends the processing of the entry. Text is the error, and empty after a success.
	Handled Kind = "handled"
	// Saving: the offset ID is about to be saved under Label.
	Saving Kind = "saving"
	// Saved: the store has confirmed that the offset ID is saved under Label.
	Saved Kind = "saved"
	// Resetting: the offset ID is about to be stored under Label. The offset before may be a
	// higher one.
	Resetting Kind = "resetting"
	// Reset: the store has confirmed that the offset ID is stored under Label.
	Reset Kind = "reset"
	// Loaded: the offset ID was found under Label.
	Loaded Kind = "loaded"
	// FaultBegun: the fault named Text begins. May has the findings that the fault allows.
	FaultBegun Kind = "fault begun"
	// FaultOver: the fault named Text is over.
	FaultOver Kind = "fault over"
	// Reported: the consumer has reported a loss, with the message Text, of the entries from ID
	// to To, both included. The range is open where ID or To is empty.
	Reported Kind = "reported"
)

// Event is one event of a history. Its Kind says which fields it has.
type Event struct {
	At    time.Time `json:"at"`
	Kind  Kind      `json:"kind"`
	By    string    `json:"by,omitempty"` // the consumer or publisher
	ID    string    `json:"id,omitempty"`
	To    string    `json:"to,omitempty"`
	Key   string    `json:"key,omitempty"`
	Label string    `json:"label,omitempty"`
	Text  string    `json:"text,omitempty"`
	// Sum is a hash of the fields of the delivered entry, see [SumOf]. It is 0 if the fields
	// are not known.
	Sum    uint64 `json:"sum,omitempty"`
	Passed bool   `json:"passed,omitempty"`
	May    *Fault `json:"may,omitempty"`
}

// Write writes events, in the order in which they happened, as JSON, one event a line. [Read]
// reads them back.
func Write(w io.Writer, events []Event) error {
	for _, event := range events {
		if err := writeEvent(w, event); err != nil {
			return err
		}
	}
	return nil
}

// writeEvent writes a line with a single call, so that the lines of several processes that
// append to one file do not mix.
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

// Read reads the events that [Write], or a [Recorder] with an Out, has written. The error for a
// line that is not an event has the number of the line. If a killed process has written only a
// part of an event, the event is left out: the process did not go on with the work that the
// event is about.
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
			} else if i == len(parts)-1 && err == nil { // only the end of the line follows it
				return nil, fmt.Errorf("history: line %d: %w", n, wrong)
			}
		}
		if err != nil {
			return events, nil
		}
	}
}

// splitEvents returns the events of a line. The line has several events if a killed process has
// left a line without an end. A kernel that kills a process can stop its write at the end of a
// page.
func splitEvents(line []byte) (parts [][]byte) {
	for len(line) > 0 {
		const begin = `{"at":` // no text contains it, because the quotes in a text are escaped
		end := len(line)
		if next := bytes.Index(line[1:], []byte(begin)); next >= 0 {
			end = next + 1
		}
		parts = append(parts, line[:end])
		line = line[end:]
	}
	return parts
}

// Append opens a file to which a [Recorder] appends events, see [Recorder.Out], and creates the
// file if it does not exist. Several processes may append to one file at the same time. Events
// that a process has written survive its kill.
func Append(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// ReadFile opens a file and reads its events as [Read] does.
func ReadFile(path string) ([]Event, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return Read(file)
}
