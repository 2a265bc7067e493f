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

var outcomes = []outcome{handled, skipped, deadLetter}

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
	carried counts             // left over from the run before
	added   counts             // published by this run
	settled map[outcome]counts // what became of them
	last    record             // the newest of them
	news    []string           // what has not been shown yet
}

type record struct {
	entryID string
	what    outcome
	kind    class
}

func newLedger(carried counts) *ledger {
	books := &ledger{carried: carried, added: make(counts), settled: make(map[outcome]counts)}
	for _, o := range outcomes {
		books.settled[o] = make(counts)
	}
	return books
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
	text, _ := entry.Fields["trace_id"].(string)
	l.last = record{entryID: entry.ID, what: what, kind: class(text)}
	of := l.settled[what]
	of[l.last.kind]++
	if of[l.last.kind] == 1 { // the first of its kind is worth a line
		line := fmt.Sprintf("%s  %-12s  %s", entry.ID, text, what)
		if why != "" {
			line += ": " + why
		}
		l.news = append(l.news, line)
	}
}

// strike takes out the newest record if its entry is behind the offset: a dead
// letter that was decided on, but not written any more, because of a stop.
func (l *ledger) strike(offset string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.entryID != "" && !reached(offset, l.last.entryID) {
		l.settled[l.last.what][l.last.kind]--
		l.last = record{}
	}
}

func (l *ledger) published(batch []class) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, kind := range batch {
		l.added[kind]++
	}
}

func (l *ledger) doneLocked() (done int) {
	for _, of := range l.settled {
		done += of.sum()
	}
	return done
}

// state is for the progress: how many of how many, and the news since the last
// call.
func (l *ledger) state() (done, all int, news []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	news, l.news = l.news, nil
	return l.doneLocked(), l.carried.sum() + l.added.sum(), news
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
	for _, kind := range classes {
		line(kind.String(), l.carried[kind], l.added[kind], l.settled[handled][kind], l.settled[skipped][kind], l.settled[deadLetter][kind])
	}
	return line("all", l.carried.sum(), l.added.sum(), l.settled[handled].sum(), l.settled[skipped].sum(), l.settled[deadLetter].sum())
}
