package faults_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// fate is what a transfer is for its handler, by its number.
type fate int

const (
	easy      fate = iota
	slow           // it takes a while
	flaky          // it fails once, and is tried again in place
	heldUp         // it fails, and the engine has to deliver it again, twice
	hopeless       // it always fails, and ends in the dead letters
	elsewhere      // the same, written by a client of the handler's choice: in two steps
	garbled        // it cannot be decoded, and ends there, too
)

func fateOf(number int) fate {
	// Even and odd: two consumers that wait may take turns.
	switch number % 100 {
	case 7, 58:
		return flaky
	case 19:
		return heldUp
	case 31, 82:
		return hopeless
	case 68:
		return elsewhere
	case 43:
		return garbled
	case 11, 36, 61, 86:
		return slow
	}
	return easy
}

// fates is a handler to which each transfer's fate happens.
type fates struct {
	// elsewhere is the client for the dead letters that want one.
	elsewhere redis.UniversalClient
	// slow is how long a slow one takes: so long that consumers have entries in hand
	// most of the time, and keep up with the source.
	slow time.Duration

	mu    sync.Mutex
	tried map[int]bool
}

func (f *fates) handle(ctx context.Context, msg *stream.Message[transfer]) error {
	switch number := msg.Value.Number; fateOf(number) {
	case slow:
		return last(ctx, f.slow)
	case flaky:
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.tried == nil {
			f.tried = make(map[int]bool)
		}
		if !f.tried[number] {
			f.tried[number] = true
			return errors.New("flaky")
		}
	case heldUp:
		if msg.Deliveries < 3 {
			return errHeld
		}
	case hopeless:
		return errors.New("hopeless")
	case elsewhere:
		return &stream.DeadLetterError{Client: f.elsewhere, Attempts: msg.Deliveries, Err: errors.New("hopeless here")}
	}
	return nil
}

// last lets time pass, for something that takes that long.
func last(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// source publishes in the background, whatever becomes of it: as fast as it goes
// until as many were acknowledged as the test wants by then, and after that slowly,
// for consumers to show that they are alive.
type source struct {
	trial        *trial
	producer     *stream.Producer[transfer]
	client       redis.UniversalClient
	goal         atomic.Int64
	acknowledged atomic.Int64
	// publishing is held by whoever wants that nothing is published.
	publishing sync.Mutex
}

// startSource has a source publish through a client until stop is called, at the
// latest when the test is over.
func (tr *trial) startSource(client redis.UniversalClient) (s *source, stop func()) {
	tr.t.Helper()
	s = &source{trial: tr, producer: tr.producer(client), client: client}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			s.publishing.Lock()
			err := s.publish(ctx)
			s.publishing.Unlock()
			if err != nil || s.acknowledged.Load() >= s.goal.Load() {
				_ = last(ctx, 5*time.Millisecond)
			}
		}
	})
	stop = func() {
		cancel()
		work.Wait()
	}
	tr.t.Cleanup(stop)
	return s, stop
}

func (s *source) publish(ctx context.Context) error {
	number := s.trial.next()
	account := accountOf(number)
	_, err := s.trial.rec.Publish("source", account, func() (string, error) {
		if fateOf(number) == garbled {
			return s.client.XAdd(ctx, &redis.XAddArgs{Stream: transfers.Name, Values: garbledFields(number)}).Result()
		}
		return s.producer.Publish(ctx, transfer{Number: number, Account: account, Secret: canary})
	})
	if err == nil {
		s.acknowledged.Add(1)
	}
	s.trial.journal.note(err)
	return err
}

// garbledFields are what no codec reads, and what a dead letter has to keep: bytes
// that are no text, a name that repeats, and no order of names.
func garbledFields(number int) []string {
	return []string{
		"secret", canary, "number", "no number\x00\xff\r\n", "note", strconv.Itoa(number), "account", accountOf(number), "note", "", "", "x",
	}
}

// reach waits until as many transfers were acknowledged, of those that are wanted.
func (s *source) reach(t testing.TB, entries, wanted int) {
	t.Helper()
	s.goal.Store(int64(wanted))
	streamtest.Await(t, "transfers are published", func() bool { return s.acknowledged.Load() >= int64(entries) })
}
