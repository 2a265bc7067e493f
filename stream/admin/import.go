package admin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	"millrace/stream"
	"millrace/stream/internal/publish"
	"millrace/stream/internal/task"
)

// Imported is the result of an import.
type Imported struct {
	// Entries is how many lines have their entry in the stream, those included that an earlier
	// import of the same lines had added.
	Entries int64
	// Lines is the number of the last line that was read.
	Lines int64
}

// ImportError says that a line of an import is not one of an export. The entries of the lines
// before it are in the stream. Mend the line, and import the whole again: what is there already
// is not added a second time.
type ImportError struct {
	Line   int64
	Reason string
}

func (e *ImportError) Error() string {
	return fmt.Sprintf("admin: line %d is not one of an export: %s; the entries before it are in the stream; mend the line and import the whole again, which adds none of them twice", e.Line, e.Reason)
}

const (
	// importPage is how many entries are added in one round trip.
	importPage = 100
	// importKept is how long the stream remembers which lines were imported.
	importKept = 24 * time.Hour
)

var errNoText = errors.New(`a name and a value are a string, or {"base64":"..."}`)

// Import adds the entries of an export ([Admin.Export]) to a stream, in their order, under new
// IDs. Blank lines are passed over. It returns what was done, also with an error: an
// [*ImportError] names a line that is broken.
//
// The same import adds nothing twice within a day, however often it is tried: the stream
// remembers each line by its number and the content of all up to it, in keys as those of
// stream.Producer.PublishOnce. So an import that was interrupted, or that has grown since, goes
// on where it was; and two equal lines are two entries. [Rate] limits it, [Report] tells how
// far it is, and [By] is required.
func (a *Admin) Import(ctx context.Context, name string, r io.Reader, opts ...DoOption) (done Imported, err error) {
	var d doing
	for _, opt := range opts {
		if opt != nil {
			opt(&d)
		}
	}
	switch {
	case d.who == "" || d.why == "":
		return done, ErrNoReason
	case strings.TrimSpace(name) == "":
		return done, fmt.Errorf("%w: Import to %q: give the key of a stream", stream.ErrInvalidOption, name)
	}
	if err := a.record(ctx, auditBegin, "import", name, d.who, d.why, "lines of an export are added"); err != nil {
		return done, err
	}
	i := &importer{doing: &d, lines: bufio.NewReader(r), sum: sha256.New(), publisher: publish.New(a.client, publish.Settings{
		Stream: name, Keys: onceKeys(name), KeyWindow: importKept,
	})}
	err = i.run(ctx)
	if broken := (*ImportError)(nil); err != nil && !errors.As(err, &broken) {
		err = explain("importing to "+name, err)
	}
	what := fmt.Sprintf("%d entries of %d lines", i.done.Entries, i.done.Lines)
	if err != nil {
		what += ": " + err.Error()
	}
	return i.done, errors.Join(err, a.record(context.WithoutCancel(ctx), auditEnd, "import", name, d.who, d.why, what))
}

// onceKeys is the beginning of the keys of PublishOnce. In a cluster they are where the stream
// is, as its dead letters are.
func onceKeys(name string) string {
	return strings.TrimSuffix(stream.DeadLetterStream(name), ":dead") + ":once:"
}

// importer reads lines and adds their entries.
type importer struct {
	doing     *doing
	publisher *publish.Publisher
	lines     *bufio.Reader
	sum       hash.Hash // of all lines so far
	page      []publish.Entry
	done      Imported
	due       time.Time // of the next page, as the rate has it
}

func (i *importer) run(ctx context.Context) error {
	for {
		entry, found, err := i.next()
		if found {
			i.page = append(i.page, entry)
		}
		if err != nil || len(i.page) >= i.pageSize() {
			// The entries before a broken line are added.
			if failed := i.add(ctx); failed != nil {
				return failed
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// next returns the next line's entry, if it has one. The error is io.EOF after the last.
func (i *importer) next() (entry publish.Entry, found bool, err error) {
	line, err := i.lines.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return entry, false, fmt.Errorf("reading line %d: %w", i.done.Lines+1, err)
	}
	ended := err
	if len(line) == 0 {
		return entry, false, ended
	}
	i.done.Lines++
	// The end of a file may lack the end of its last line.
	line = bytes.TrimSpace(line)
	i.sum.Write(append(line[:len(line):len(line)], '\n'))
	if len(line) == 0 {
		return entry, false, ended
	}
	pairs, reason := pairsOf(line)
	if reason != "" {
		return entry, false, &ImportError{Line: i.done.Lines, Reason: reason}
	}
	key := "import:" + strconv.FormatInt(i.done.Lines, 10) + ":" + hex.EncodeToString(i.sum.Sum(nil)[:16])
	return publish.Entry{Pairs: pairs, Key: key}, true, ended
}

// pairsOf returns the fields of a line, or why it has none. The reason has nothing of the line
// in it.
func pairsOf(line []byte) (pairs []string, reason string) {
	var fields struct {
		Fields []json.RawMessage `json:"fields"`
	}
	if err := json.Unmarshal(line, &fields); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Sprintf("it is not JSON from byte %d on", syntax.Offset)
		}
		return nil, `it is no JSON object with a list of "fields"`
	}
	if len(fields.Fields) == 0 {
		return nil, `it has no "fields"`
	}
	for n, raw := range fields.Fields {
		var pair []text
		if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
			return nil, fmt.Sprintf("field %d is no pair of a name and a value; %v", n+1, errNoText)
		}
		pairs = append(pairs, string(pair[0]), string(pair[1]))
	}
	return pairs, ""
}

func (i *importer) pageSize() int {
	if rate := i.doing.rate; rate > 0 {
		return max(1, min(importPage, rate/4))
	}
	return importPage
}

// add adds the page.
func (i *importer) add(ctx context.Context) (failed error) {
	n := len(i.page)
	if n == 0 {
		return ctx.Err()
	}
	if wait := time.Until(i.due); wait > 0 && !task.Sleep(ctx, wait) {
		return ctx.Err()
	}
	if rate := i.doing.rate; rate > 0 {
		i.due = time.Now().Add(time.Duration(n) * time.Second / time.Duration(rate))
	}
	i.publisher.PublishAll(ctx, nil, n, func(at int) (publish.Entry, bool) { return i.page[at], true }, func(_ int, outcome publish.Outcome) {
		if outcome.Fate == publish.Written {
			i.done.Entries++
		} else if failed == nil {
			failed = fmt.Errorf("%w; import the whole again, which adds nothing twice", outcome.Err)
		}
	})
	i.page = i.page[:0]
	i.doing.tell(Progress{Done: i.done.Entries, Of: -1, Behind: -1})
	return failed
}
