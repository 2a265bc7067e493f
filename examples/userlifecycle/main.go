// Command userlifecycle runs the user-lifecycle topic from end to end: it
// publishes a mix of good, malformed, unknown and failing events, consumes them
// with the whole stack of middleware, and shows what became of each kind.
//
// It needs no server: without -redis it brings one in memory along. With -keep
// the stream and the offset stay, and a second run goes on where the first
// stopped, also when that was stopped with Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"millrace/lifecycle"
	"millrace/middleware"
	"millrace/stream"
)

type settings struct {
	redisURL string
	events   int
	keep     bool
	verbose  bool
	// width is the terminal's, nil where the output is none.
	width func() int
}

func main() {
	var set settings
	flag.StringVar(&set.redisURL, "redis", "", "`URL` of a Redis to use, such as redis://127.0.0.1:6379; without it one in memory")
	flag.IntVar(&set.events, "events", 300, "how many events to publish")
	flag.BoolVar(&set.keep, "keep", false, "keep the stream and the offset for the next run")
	flag.BoolVar(&set.verbose, "v", false, "show the log on standard error")
	flag.Parse()
	if flag.NArg() > 0 || set.events < 0 {
		flag.Usage()
		os.Exit(2)
	}
	if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		set.width = func() int { return columns(os.Stdout) }
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, set, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "userlifecycle:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, set settings, out, errout io.Writer) error {
	if set.width != nil {
		out = &terminal{out, set.width}
	}
	store, err := openRedis(set)
	if err != nil {
		return err
	}
	defer store.close()
	waiting, after, err := store.waiting(ctx)
	if err != nil {
		return err
	}
	if after != "" {
		fmt.Fprintf(out, "going on after entry %s; %d events of the last run are still to be handled\n", after, waiting.sum())
	}
	logger := slog.New(slog.DiscardHandler)
	if set.verbose {
		logger = slog.New(slog.NewTextHandler(errout, nil))
	}

	books := newLedger(waiting)
	consumer, err := lifecycle.NewConsumer(lifecycle.Config{
		Client:       store.client,
		Stream:       store.stream,
		BlockTimeout: 2 * time.Second,
		OffsetStore:  store.offsets,
		Logger:       logger,
		Middleware: []stream.Middleware{
			books.middleware,
			middleware.Logging(logger),
			middleware.DeadLetter(middleware.DeadLetterConfig{}),
			middleware.Retry(middleware.RetryConfig{
				Attempts: 3,
				Backoff:  stream.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond},
			}),
			middleware.Timeout(time.Second),
		},
	})
	if err != nil {
		return err
	}
	consumer.OnEvent(newHandler())

	consuming, finish := context.WithCancel(ctx)
	defer finish()
	feeding := make(chan error, 1)
	go func() {
		defer finish()
		feeding <- feed(consuming, store, set.events, books)
	}()
	progress := startProgress(out, set.width, waiting.sum()+set.events, books)
	err = consumer.Run(consuming)
	if err == consuming.Err() { //nolint:errorlint // anything that is joined to it is worth telling
		err = nil
	}
	finish()
	err = errors.Join(err, <-feeding)
	progress.stop()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		fmt.Fprintln(out, "stopped")
	}
	// The run's context may be over; what is left to do is not to be cut short.
	return store.report(context.WithoutCancel(ctx), out, books)
}

// feed publishes n events, and returns when the offset has reached the last of
// them, or ctx is done.
func feed(ctx context.Context, store *store, n int, books *ledger) error {
	if err := publish(ctx, store, n, books); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		// An error is the consumer's to outlast, and ours.
		if done, _ := store.caughtUp(ctx); done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
