package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress shows how far the consumer is: on a terminal a bar that changes, elsewhere
// a plain line now and then.
type progress struct {
	out   io.Writer
	books *ledger
	// width is the terminal's, nil where the output is none.
	width func() int
	all   int // events that are to be settled, as far as is known before
	begun time.Time
	quit  chan struct{}
	ended sync.WaitGroup
	shown int
}

func startProgress(out io.Writer, width func() int, all int, books *ledger) *progress {
	p := &progress{out: out, width: width, all: all, books: books, begun: time.Now(), quit: make(chan struct{}), shown: -1}
	p.ended.Go(func() {
		every := time.Second
		if width != nil {
			every = 100 * time.Millisecond
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.show()
			case <-p.quit:
				p.show()
				return
			}
		}
	})
	return p
}

// stop shows the last state, and returns when nothing more will be printed.
func (p *progress) stop() {
	close(p.quit)
	p.ended.Wait()
	if p.width != nil {
		fmt.Fprintln(p.out)
	}
}

func (p *progress) show() {
	done, published, news := p.books.state()
	if p.width != nil && len(news) > 0 {
		fmt.Fprint(p.out, clearLine)
	}
	for _, line := range news {
		fmt.Fprintln(p.out, line)
	}
	switch {
	case p.width != nil:
		fmt.Fprint(p.out, clearLine+bar(p.width(), done, max(p.all, published), time.Since(p.begun)))
	case done != p.shown:
		fmt.Fprintf(p.out, "%d of %d events settled\n", done, published)
	}
	p.shown = done
}

// bar is one line of at most width columns: a bar, percent, rate and the time left.
func bar(width, done, all int, since time.Duration) string {
	share := 1.0
	if all > 0 {
		share = float64(done) / float64(all)
	}
	rate := float64(done) / max(since.Seconds(), 0.001)
	left := "-"
	if done >= all {
		left = "0s"
	} else if done > 0 {
		left = time.Duration(float64(all-done) / rate * float64(time.Second)).Round(time.Second).String()
	}
	text := fmt.Sprintf(" %3.0f%%  %d of %d  %.0f/s  %s left", 100*share, done, all, rate, left)
	cells := min(width-len("[]")-len(text), 40)
	if cells < 5 { // a bar of less shows nothing
		return cut(strings.TrimSpace(text), width)
	}
	full := int(share * float64(cells))
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", cells-full) + "]" + text
}
