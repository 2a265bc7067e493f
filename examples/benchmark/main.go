// Command benchmark prints the table that compares Millrace with what one would
// use instead: a bare go-redis loop that decodes nothing, the loop that one writes
// by hand, and watermill-redisstream. All of it runs on one machine in one run, so
// that the ratios can be repeated where the absolute figures cannot:
//
//	go run .
//	go run . -redis redis://127.0.0.1:6379 -only log,group
//
// Without -redis it starts a redis-server of its own, which must be on the PATH. On
// a server of yours it touches only keys that begin with "millrace-benchmark:", and
// removes them in the end.
//
// What is compared takes turns for a number of rounds. Each ratio is formed within
// one round; the table shows the median over the rounds and, in brackets, the
// lowest and the highest. It needs Linux, whose /proc tells how much memory a
// process has.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if isChild() {
		if err := child(os.Stdin, os.Stdout); err != nil {
			log.Fatal("benchmark: child: ", err)
		}
		return
	}
	s := settings{
		latencies: 2000,
		settle:    2 * time.Second,
		idle:      10 * time.Second,
		watch:     20 * time.Second,
	}
	url := flag.String("redis", "", "`URL` of a Redis to use, such as redis://127.0.0.1:6379; without it one that the program starts")
	only := flag.String("only", "", "comma-separated `rows` to run: "+strings.Join(rowNames(), ", ")+"; without it all")
	flag.IntVar(&s.entries, "entries", 100_000, "how many entries the fast ones handle in a round; slow ones handle fewer")
	flag.IntVar(&s.rounds, "rounds", 7, "how many `rounds` to take the median of")
	flag.IntVar(&s.topics, "topics", 1000, "how many topics one process consumes in the row topics")
	flag.IntVar(&s.backlog, "backlog", 1_000_000, "how many entries wait in the row backlog")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *url, *only, s, os.Stdout, os.Stderr); err != nil {
		log.Fatal("benchmark: ", err)
	}
}

// run runs the rows whose names are given, all if none is, and prints the table of
// those that were finished, be it that a later one fails.
func run(ctx context.Context, url, only string, s settings, table, progress io.Writer) (err error) {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	if err := s.validate(); err != nil {
		return err
	}
	if url == "" {
		server, err := startServer(ctx)
		if err != nil {
			return err
		}
		defer server.stop()
		url = server.url
	}
	b, err := newBench(ctx, url, s, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()

	var lines []line
	for _, row := range chosen {
		if ctx.Err() != nil {
			break
		}
		b.row = row.name
		var found []line
		if found, err = row.measure(b, ctx); err != nil {
			err = fmt.Errorf("%s: %w", row.name, err)
			break
		}
		for i := range found {
			found[i].row = row.name
		}
		lines = append(lines, found...)
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	printTable(table, lines)
	return err
}
