package feed

import (
	"time"
)

// Replies that break off. A server closes the connection of a client to which a reply
// has become too large (client-output-buffer-limit), and proxies have limits of their
// own. The same read again would break off again, for ever: the next one asks for half
// as many entries.

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
