package admin

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"millrace/stream"
)

// Export writes entries of a stream, one a line, as JSON, and returns how many:
//
//	{"id":"1795827996968-0","at":"2026-11-28T11:39:56.968Z","fields":[["user_id","42"],["cents","900"]]}
//
// The fields are in their order, repeated names included. A name or a value that is not UTF-8 is
// an object with its bytes, {"base64":"/wA="}. [Admin.Import] reads it. After an error, w has
// the lines before it. Errors are those of [Admin.Entries] and of w.
func (a *Admin) Export(ctx context.Context, name string, span Span, w io.Writer) (n int64, err error) {
	out := bufio.NewWriter(w)
	for entry, err := range a.Entries(ctx, name, span) {
		if err != nil {
			return n, flushed(out, err)
		}
		line, err := json.Marshal(exportOf(entry))
		if err != nil {
			return n, flushed(out, explain("exporting "+name, err))
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return n, fmt.Errorf("admin: exporting %s: writing entry %s: %w", name, entry.ID, err)
		}
		n++
	}
	if err := out.Flush(); err != nil {
		return n, fmt.Errorf("admin: exporting %s: writing the last entries: %w", name, err)
	}
	return n, nil
}

// flushed writes the lines before an error, which is the one that counts.
func flushed(out *bufio.Writer, err error) error {
	_ = out.Flush()
	return err
}

// exported is a line of an export.
type exported struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	Fields [][2]text `json:"fields"`
}

func exportOf(entry stream.Entry) exported {
	line := exported{ID: entry.ID, At: TimeOf(entry.ID).UTC(), Fields: [][2]text{}}
	for name, value := range entry.Fields.All() {
		line.Fields = append(line.Fields, [2]text{text(name), text(value)})
	}
	return line
}

// text is a name or a value: a JSON string, or an object where it is not UTF-8.
type text string

type bytesOf struct {
	Base64 *string `json:"base64"`
}

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(t))
	return json.Marshal(bytesOf{&encoded})
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(t))
	}
	var of bytesOf
	if err := json.Unmarshal(data, &of); err != nil || of.Base64 == nil {
		return errNoText
	}
	decoded, err := base64.StdEncoding.DecodeString(*of.Base64)
	*t = text(decoded)
	if err != nil {
		return errNoText
	}
	return nil
}
