package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/resp"
)

// Replies that break off. A server closes the connection of a client to which a reply
// has become too large (client-output-buffer-limit), and proxies have limits of their
// own. The same read again would break off again, for ever: the next one asks for half
// as many entries.

// cutError is the failure of a read whose reply broke off. It is filled in by the feed,
// which knows the size of the read.
type cutError struct {
	err error
	// begun is set if some of the reply had come.
	begun bool
	asked int
	// least is set where there is no smaller read.
	least bool
}

func (e *cutError) Error() string {
	if e.least {
		return fmt.Sprintf("the reply to a read of one entry broke off: %v", e.err)
	}
	return fmt.Sprintf("the reply to a read of up to %d entries of a stream broke off; the next one asks for fewer: %v", e.asked, e.err)
}

func (e *cutError) Unwrap() error { return e.err }

// cutWithin is how soon after a request a connection is closed because of the reply.
// Redis sends nothing of a reply that is too large: a connection that is closed later,
// without a byte, was waiting for entries, and ended for another reason.
const cutWithin = time.Second

// isCut reports whether the error of a connection means that the reply broke off, which
// had begun or not, so long after the request. A connection that was closed here, and a
// server that stands still, do not count.
func isCut(err error, begun bool, after time.Duration) bool {
	var network net.Error
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return begun || after < cutWithin
	}
	return begun && errors.As(err, &network)
}

// infoScript is XINFO STREAM without the fields of the first and the last entry.
var infoScript = redis.NewScript(luaNamed + `
local of = named(redis.call('XINFO', 'STREAM', KEYS[1]))
local function id(entry) return entry and entry[1] or '' end
return {of.length, of['entries-added'] or 0, of['last-generated-id'], of['max-deleted-entry-id'] or '0-0', id(of['first-entry']), id(of['last-entry'])}`)

// infoByScript is for a stream whose first and last entry, which XINFO brings, are too
// large for a reply.
func infoByScript(ctx context.Context, client redis.UniversalClient, stream string) (*redis.XInfoStream, error) {
	reply, err := infoScript.Run(ctx, client, []string{stream}).Slice()
	if err != nil {
		return nil, err
	}
	info := &redis.XInfoStream{}
	if !scan(reply, &info.Length, &info.EntriesAdded, &info.LastGeneratedID, &info.MaxDeletedEntryID, &info.FirstEntry.ID, &info.LastEntry.ID) {
		return nil, resp.Malformed("XINFO has other elements")
	}
	return info, nil
}

// growAfter is how long a limit that was learned stays, at first, until twice as many
// entries are asked for; each time that turns out to be too much, the time doubles, up to
// maxGrowAfter: where the limit is there for good, each try costs a connection.
const (
	growAfter    = 30 * time.Second
	maxGrowAfter = 8 * time.Minute
)

// replyLimit is how many entries of a stream a reply may have, as far as replies that
// broke off tell. The zero value is no limit.
type replyLimit struct {
	entries int           // 0 is no limit
	wait    time.Duration // until it grows
	grows   time.Time
	grown   bool // it has grown since the last cut
	// suspected is set when a read has failed that may have been too large. A server or a
	// proxy that is restarted closes connections, too: it takes a second one.
	suspected bool
}

// cut notes that the reply to a read of so many entries broke off, begun or not. It
// reports false if it may not have.
func (l *replyLimit) cut(asked int, begun bool, now time.Time) bool {
	if !begun && !l.suspected {
		l.suspected = true
		return false
	}
	switch {
	case l.wait == 0:
		l.wait = growAfter
	case l.grown:
		l.wait = min(2*l.wait, maxGrowAfter)
	}
	l.entries, l.grown = max(1, asked/2), false
	l.grows = now.Add(l.wait)
	return true
}

// worked notes that a reply has come.
func (l *replyLimit) worked() { l.suspected = false }

// of returns how many of the given number of entries may be asked for now.
func (l *replyLimit) of(count int, now time.Time) int {
	if l.entries == 0 {
		return count
	}
	if !now.Before(l.grows) {
		l.entries, l.grown = 2*l.entries, true
		l.grows = now.Add(l.wait)
	}
	if l.entries >= count {
		l.entries = 0
		return count
	}
	return l.entries
}
