package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"millrace/stream"
)

// outcome is what can become of an entry.
type outcome string

const (
	handled    outcome = "handled"
	skipped    outcome = "skipped"
	deadLetter outcome = "dead letter"
)

type counts map[class]int

func (c counts) sum() (sum int) {
	for _, n := range c {
		sum += n
	}
	return sum
}

// ledger keeps the books: what is to be handled, and what became of it.
type ledger struct {
	mu      sync.Mutex
	carried counts            // left over from the run before
	added   counts            // published by this run
	settled map[string]record // what became of an entry, by its ID
	seen    map[record]bool   // of which records there was a line
	news    []string          // what has not been shown yet
}

type record struct {
	what outcome
	kind class
}

func newLedger(carried counts) *ledger {
	return &ledger{carried: carried, added: make(counts), settled: make(map[string]record), seen: make(map[record]bool)}
}

// middleware is the outermost of the stack, and enters what the others made of
// an entry. It shows how middleware of one's own looks.
func (l *ledger) middleware(next stream.EntryHandler) stream.EntryHandler {
	return func(ctx context.Context, entry *stream.Entry) error {
		err := next(ctx, entry)
		var (
			dead *stream.DeadLetterError
			skip *stream.SkipError
		)
		switch {
		case err == nil:
			l.settle(entry, handled, "")
		case errors.As(err, &skip):
			l.settle(entry, skipped, skip.Reason)
		case errors.As(err, &dead) && ctx.Err() == nil:
			l.settle(entry, deadLetter, dead.Err.Error())
		}
		return err
	}
}

func (l *ledger) settle(entry *stream.Entry, what outcome, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, _ := entry.Fields.Get("trace_id")
	r := record{what: what, kind: class(text)}
	l.settled[entry.ID] = r
	if !l.seen[r] { // the first of its kind is worth a line
		l.seen[r] = true
		line := fmt.Sprintf("%s  %-12s  %s", entry.ID, text, what)
		if why != "" {
			line += ": " + why
		}
		l.news = append(l.news, line)
	}
}

// strike takes out the records of entries that the offset has not reached. A
// stop can come between the outcome of an entry and the dead letter that is to
// be written for it or for one before it. The next run delivers them again.
func (l *ledger) strike(offset string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.settled {
		if !reached(offset, id) {
			delete(l.settled, id)
		}
	}
}

func (l *ledger) published(batch []class) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, kind := range batch {
		l.added[kind]++
	}
}

// state is for the progress: how many of how many, and the news since the last
// call.
func (l *ledger) state() (done, all int, news []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	news, l.news = l.news, nil
	return len(l.settled), l.carried.sum() + l.added.sum(), news
}

// summary prints the books, and returns how many events were not reached.
func (l *ledger) summary(out io.Writer) (notReached int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const row = "%-23s %8v %9v %8v %7v %6v %11v\n" // a terminal of the usual width has room for it
	fmt.Fprintf(out, "\n"+row, "", "carried", "published", "handled", "skipped", "dead", "not reached")
	line := func(name string, carried, published, handled, skipped, dead int) int {
		rest := carried + published - handled - skipped - dead
		fmt.Fprintf(out, row, name, carried, published, handled, skipped, dead, rest)
		return rest
	}
	became := map[outcome]counts{handled: {}, skipped: {}, deadLetter: {}}
	for _, r := range l.settled {
		became[r.what][r.kind]++
	}
	for _, kind := range classes {
		line(kind.String(), l.carried[kind], l.added[kind], became[handled][kind], became[skipped][kind], became[deadLetter][kind])
	}
	return line("all", l.carried.sum(), l.added.sum(), became[handled].sum(), became[skipped].sum(), became[deadLetter].sum())
}
