package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress shows how far the consumer is: on a terminal a line that changes,
// elsewhere a plain line now and then.
type progress struct {
	out      io.Writer
	terminal bool
	books    *ledger
	quit     chan struct{}
	ended    sync.WaitGroup
	shown    int
}

func startProgress(out io.Writer, terminal bool, books *ledger) *progress {
	p := &progress{out: out, terminal: terminal, books: books, quit: make(chan struct{}), shown: -1}
	p.ended.Go(func() {
		every := time.Second
		if terminal {
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
	if p.terminal {
		fmt.Fprintln(p.out)
	}
}

func (p *progress) show() {
	done, all, news := p.books.state()
	const clearLine = "\r\x1b[K"
	if p.terminal {
		fmt.Fprint(p.out, clearLine)
	}
	for _, line := range news {
		fmt.Fprintln(p.out, line)
	}
	switch {
	case p.terminal:
		fmt.Fprintf(p.out, "%d of %d events settled", done, all)
	case done != p.shown:
		fmt.Fprintf(p.out, "%d of %d events settled\n", done, all)
	}
	p.shown = done
}
