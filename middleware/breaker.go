package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"millrace/stream"
)

// BreakerConfig configures [Breaker].
type BreakerConfig struct {
	// Failures is how many attempts have to fail in a row for the breaker to open.
	// Default, also for less than 1: 5. Give more than the attempts of [Retry], or an
	// entry that always fails opens the breaker by itself.
	Failures int
	// Backoff is how long an open breaker waits before it lets an entry through as a
	// probe, longer each time that a probe fails.
	// Default for each field, also for less than zero: 500 milliseconds to 2 seconds.
	Backoff stream.Backoff
	// If says which errors count as failures. Default: all. It is not asked about those
	// that never do: see [Breaker]. Where it panics, it has said yes.
	If func(error) bool
	// OnChange is told of each change of state, for metrics. It must return soon.
	// Default: none. A panic changes nothing.
	OnChange func(BreakerChange)
	// Logger is told when the breaker opens and when it closes.
	// Default: slog.Default() at the time of the call of Breaker.
	Logger *slog.Logger
}

// BreakerState is the state of a breaker.
type BreakerState uint8

const (
	// BreakerClosed lets everything through. It is the state of a new breaker.
	BreakerClosed BreakerState = iota
	// BreakerOpen lets nothing through until the back-off is over.
	BreakerOpen
	// BreakerHalfOpen has let a single entry through as a probe, and waits for its
	// outcome.
	BreakerHalfOpen
)

// String returns "closed", "open" or "half-open", the value of a metric's label.
func (s BreakerState) String() string {
	switch s {
	case BreakerClosed:
		return "closed"
	case BreakerOpen:
		return "open"
	case BreakerHalfOpen:
		return "half-open"
	default:
		return fmt.Sprintf("BreakerState(%d)", uint8(s))
	}
}

// BreakerChange is a change of state of a breaker.
type BreakerChange struct {
	// Stream is that of the consumer.
	Stream   string
	From, To BreakerState
	// Failures is how many attempts have failed in a row.
	Failures int
	// Err is the last failure.
	Err error
}

// Breaker is a circuit breaker: it pauses processing while a service that the handler
// needs, such as a database, is away. After a number of failures in a row the breaker
// opens, and entries wait in it instead of failing one after the other. From time to time
// one entry goes through as a probe. When a probe succeeds, the breaker closes, and all
// entries go on.
//
// An entry that waits uses up no attempt, neither of [Retry] nor of
// stream.WithMaxDeliveries, and no other consumer claims it. An entry that fails, a
// probe included, uses up one attempt. A stop ends the wait at once, also with
// stream.WithDrainTimeout.
//
// Failures of the sink count, those of an entry do not: decode errors, skips, dead
// letters, permanent errors (stream.Permanent), errors of stream.RetryAfter, entries over the limit of deliveries,
// errors that If declines, and errors that are returned after the end of the context
// neither open nor close the breaker.
//
// In the handler of a batch each message counts, so that one batch that fails opens the
// breaker. A probe is then one message of a batch, and the batch is handled only when
// all of its messages are there. A probe that has not returned after Backoff.Max is
// therefore joined by all entries that wait.
//
// Breaker stands inside of Retry and outside of Timeout. There it sees each attempt, and
// its waits have no limit. Outside of Retry, each probe would use up all attempts of an
// entry, and the entry would become a dead letter.
//
// Each consumer that is given the middleware has a breaker of its own.
func Breaker(config BreakerConfig) stream.Middleware {
	if config.Failures < 1 {
		config.Failures = 5
	}
	config.Backoff = config.Backoff.Or(stream.Backoff{Min: 500 * time.Millisecond, Max: 2 * time.Second})
	if config.If == nil {
		config.If = isFailure
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	return func(next stream.EntryHandler) stream.EntryHandler {
		b := &breaker{config: config}
		return func(ctx context.Context, entry *stream.Entry) (err error) {
			probe, err := b.enter(ctx, entry.Stream)
			if err != nil {
				return err
			}
			name, returned := entry.Stream, false
			defer func() {
				if !returned { // it has panicked, or ended its goroutine
					b.leave(name, probe, failed, errNotReturned)
				}
			}()
			err = next(ctx, entry)
			returned = true
			what := succeeded
			if err != nil {
				what = neither
				if ctx.Err() == nil && worthRetrying(err) {
					var counts bool
					if counts, err = decide(config.If, isFailure, err); counts {
						what = failed
					}
				}
			}
			b.leave(name, probe, what, err)
			return err
		}
	}
}

func isFailure(error) bool { return true }

var errNotReturned = errors.New("the handler did not return")

// result is the meaning of an attempt for the state of the sink.
type result uint8

const (
	neither result = iota
	succeeded
	failed
)

// breaker is the state of a Breaker for one consumer. mu guards all fields below it; while
// the state is BreakerClosed, no entry waits. telling is locked before mu. It starts no
// goroutine but those of time.AfterFunc.
type breaker struct {
	config BreakerConfig

	mu       sync.Mutex
	state    BreakerState
	failures int // in a row
	probes   int64
	since    time.Time // when it opened
	last     error
	// due is set when a probe may go through, and there was none.
	due bool
	// probe counts the probes. joined is set when all entries join the current probe.
	probe   int64
	joined  bool
	waiting []chan bool // each gets whether it is a probe, once it may go through
	changes []BreakerChange
	// telling is locked while changes are reported, which keeps their order.
	telling sync.Mutex
}

// enter waits until an entry may go through, and reports whether it does so as a probe.
func (b *breaker) enter(ctx context.Context, name string) (probe bool, err error) {
	b.mu.Lock()
	switch {
	case b.state == BreakerClosed:
		b.mu.Unlock()
		return false, nil
	case b.due:
		b.halfOpen(name)
		b.unlockAndTell()
		return true, nil
	case b.state == BreakerHalfOpen && b.joined:
		b.mu.Unlock()
		return true, nil
	}
	turn := make(chan bool, 1)
	b.waiting = append(b.waiting, turn)
	b.mu.Unlock()
	select {
	case probe = <-turn:
		return probe, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-stream.Stopping(ctx):
		err = stream.ErrStopping
	}
	b.mu.Lock()
	if i := slices.Index(b.waiting, turn); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	} else if <-turn {
		b.probeNext(name) // it was to be the probe
	}
	b.unlockAndTell()
	return false, err
}

// leave records the result of an attempt.
func (b *breaker) leave(name string, probe bool, what result, err error) {
	b.mu.Lock()
	switch {
	case what == succeeded:
		b.failures = 0
		if b.state != BreakerClosed {
			b.close(name)
		}
	case what == neither && probe && b.state == BreakerHalfOpen:
		b.probeNext(name)
	case what == neither:
	case b.state == BreakerClosed:
		b.last = err
		if b.failures++; b.failures >= b.config.Failures {
			b.since, b.probes = time.Now(), 0
			b.open(name)
		}
	case probe && b.state == BreakerHalfOpen:
		b.last = err
		b.failures++
		b.open(name)
	}
	b.unlockAndTell()
}

// open waits for the time of the next probe. b.mu must be held, as for all methods that
// follow, up to unlockAndTell.
func (b *breaker) open(name string) {
	b.become(name, BreakerOpen)
	b.probes++
	opened := b.since
	time.AfterFunc(b.config.Backoff.Delay(b.probes), func() {
		b.mu.Lock()
		if b.state == BreakerOpen && b.since.Equal(opened) {
			b.probeNext(name)
		}
		b.unlockAndTell()
	})
}

// probeNext makes the first waiting entry the probe, or else the next entry that comes.
func (b *breaker) probeNext(name string) {
	if len(b.waiting) == 0 {
		b.due = true
		b.become(name, BreakerOpen)
		return
	}
	b.halfOpen(name)
	b.waiting[0] <- true
	b.waiting = slices.Delete(b.waiting, 0, 1)
}

// halfOpen begins a probe. A probe that does not return soon may be a message of a batch.
// The batch is handled once all of its messages have arrived, and the others wait in this
// breaker: without the timer they would wait for ever.
func (b *breaker) halfOpen(name string) {
	b.become(name, BreakerHalfOpen)
	b.due, b.joined = false, false
	b.probe++
	probe := b.probe
	time.AfterFunc(b.config.Backoff.Max, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.state == BreakerHalfOpen && b.probe == probe {
			b.joined = true
			b.release(true)
		}
	})
}

// release lets all waiting entries through.
func (b *breaker) release(asProbes bool) {
	for _, turn := range b.waiting {
		turn <- asProbes
	}
	b.waiting = nil
}

// close lets all entries through.
func (b *breaker) close(name string) {
	b.become(name, BreakerClosed)
	b.due = false
	b.release(false)
}

func (b *breaker) become(name string, to BreakerState) {
	if b.state == to {
		return
	}
	b.changes = append(b.changes, BreakerChange{Stream: name, From: b.state, To: to, Failures: b.failures, Err: b.last})
	b.state = to
}

// unlockAndTell unlocks b.mu, and reports the changes of state that are not reported yet.
func (b *breaker) unlockAndTell() {
	changed := len(b.changes) > 0
	b.mu.Unlock()
	if !changed {
		return
	}
	b.telling.Lock()
	defer b.telling.Unlock()
	b.mu.Lock()
	changes, since, probes := b.changes, b.since, b.probes
	b.changes = nil
	b.mu.Unlock()
	for _, change := range changes {
		b.log(change, since, probes)
		if b.config.OnChange != nil {
			_ = outlast(func() { b.config.OnChange(change) })
		}
	}
}

// log logs that the breaker opens, and that it closes: not each probe.
func (b *breaker) log(change BreakerChange, since time.Time, probes int64) {
	_ = outlast(func() {
		switch {
		case change.From == BreakerClosed:
			b.config.Logger.Warn("processing paused: the circuit breaker is open, and lets one entry through at a time",
				"stream", change.Stream, "failures", change.Failures, "err", change.Err)
		case change.To == BreakerClosed:
			b.config.Logger.Info("processing goes on: the circuit breaker is closed",
				"stream", change.Stream, "lasted", time.Since(since), "probes", probes)
		}
	})
}
