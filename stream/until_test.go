package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// runOut runs a consumer that is to end by itself.
func runOut(t testing.TB, consumer runner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := consumer.Run(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("Run returned %v; %v", err, ctx.Err())
	}
}

// Run ends behind the place with everything up to there handled and settled, and nothing behind it
// begun, on its own or in a Runner, be the place in the middle of a read or at the end of one. What
// is behind it is then handled by another consumer, at its first delivery.
func TestUntil(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		for _, together := range []bool{false, true} {
			for name, test := range map[string]struct {
				until stream.Start
				last  int
			}{
				"an entry":              {stream.FromID("12-0"), 12},
				"the last of a read":    {stream.FromID("10-0"), 10},
				"no entry":              {stream.FromID("12-7"), 12},
				"the end":               {stream.FromEnd(), 20},
				"the last entry":        {stream.FromID("20-0"), 20},
				"a time":                {stream.FromTime(time.UnixMilli(8)), 7},
				"a time behind the end": {stream.FromTime(time.Now()), 20},
				"before the first":      {stream.FromID("0-5"), 0},
			} {
				client.FlushAll(t.Context())
				numbered(t, client, 1, 20)
				rec, rest := newRecorder(), newRecorder()
				rest.handle = func(_ context.Context, msg *stream.Message[order]) error {
					if msg.Deliveries != 1 {
						t.Errorf("%s: entry %s is at delivery %d", name, msg.ID, msg.Deliveries)
					}
					return nil
				}
				consumer := mode.make(t, client, orders.Name, rec.Handle, stream.WithUntil(test.until), stream.WithReadCount(5))
				if together {
					var r stream.Runner
					r.Add(consumer)
					runOut(t, &r)
				} else {
					runOut(t, consumer)
				}
				if got := rec.Seen(); !slices.Equal(got, numbers(1, test.last)) {
					t.Errorf("until %s: %v were delivered, want up to %d", name, got, test.last)
				}
				// What it has done is settled: again there is nothing to do.
				runOut(t, consumer)
				if got := len(rec.Seen()); got != test.last {
					t.Errorf("until %s: %d were delivered after another run", name, got)
				}
				stop := start(t, mode.make(t, client, orders.Name, rest.Handle))
				numbered(t, client, 21, 21)
				got := rest.await(t, 21-test.last)
				slices.SortFunc(got, func(a, b string) int {
					x, _ := strconv.Atoi(a)
					y, _ := strconv.Atoi(b)
					return x - y
				})
				if !slices.Equal(got, numbers(test.last+1, 21)) {
					t.Errorf("until %s: the next consumer was given %v", name, got)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// The end is that of the start of Run: a producer cannot keep it from returning.
func TestUntilTheEndOfABusyStream(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		numbered(t, client, 1, 10)
		rec := newRecorder()
		next := 11
		rec.handle = func(context.Context, *stream.Message[order]) error {
			numbered(t, client, next, next+4)
			next += 5
			return nil
		}
		runOut(t, mode.make(t, client, orders.Name, rec.Handle, stream.WithUntil(stream.FromEnd()), stream.WithReadCount(3)))
		if got := rec.Seen(); !slices.Equal(got, numbers(1, 10)) {
			t.Errorf("delivered %v", got)
		}
	})
}

// A stream without an entry, or that is not there, is at its end; so is one of which everything up
// to the place was trimmed.
func TestUntilOfNothing(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		rec := newRecorder()
		runOut(t, mode.make(t, client, orders.Name, rec.Handle, stream.WithUntil(stream.FromEnd())))
		numbered(t, client, 1, 10)
		client.XTrimMaxLen(t.Context(), orders.Name, 0)
		runOut(t, mode.make(t, client, orders.Name, rec.Handle, stream.WithUntil(stream.FromEnd())))
		numbered(t, client, 11, 12)
		runOut(t, mode.make(t, client, orders.Name, rec.Handle, stream.WithUntil(stream.FromID("10-0"))))
		if got := rec.Seen(); len(got) != 0 {
			t.Errorf("delivered %v", got)
		}
	})
}

// Run waits for an entry that is held and for a dead letter that cannot be written, but not for one
// that is left pending over the limit of deliveries.
func TestUntilWaitsForWhatIsHeld(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		numbered(t, client, 1, 5)
		client.Set(t.Context(), orders.Name+":dead", "no stream", 0)
		begun := time.Now()
		time.AfterFunc(10*time.Minute, func() { client.Del(context.Background(), orders.Name+":dead") })
		rec := newRecorder()
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			switch {
			case msg.Value.ID == "2" && time.Since(begun) < time.Minute:
				return errors.New("not yet")
			case msg.Value.ID == "4":
				return &stream.DeadLetterError{Stream: orders.Name + ":dead", Err: errors.New("no")}
			}
			return nil
		}
		consumer := mode.make(t, client, orders.Name, rec.Handle, stream.WithUntil(stream.FromEnd()))
		if err := consumer.Run(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < 10*time.Minute || took > 11*time.Minute {
			t.Errorf("Run has returned after %v", took)
		}
		if s := consumer.Stats(); s.Handled != 4 || s.DeadLettered != 1 || s.HandedBack != 0 {
			t.Errorf("%+v", s)
		}
		if mode.name == "group" {
			streamtest.AssertPending(t, client, orders.Name, "billing")
		}
	})
}

func TestUntilWithParkedEntries(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	numbered(t, client, 1, 3)
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "2" {
			return errors.New("no")
		}
		return nil
	}
	consumer := newGroup(t, client, rec.Handle, stream.WithUntil(stream.FromEnd()), stream.WithMaxDeliveries(2),
		stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}))
	runOut(t, consumer)
	streamtest.AssertPending(t, client, orders.Name, "billing", "2-0")
}

// Batches that are not full are handled, and so are those that come back.
func TestUntilWithBatches(t *testing.T) {
	t.Parallel()
	inBothBatchModes(t, func(t *testing.T, client *redis.Client, construct func(stream.BatchHandler[order], ...stream.Option) *stream.Consumer[order], settled func([]string) int) {
		ids := addNumbered(t, client, 0, 10)
		rec := &batches{handle: failFirst(2)}
		consumer := construct(rec.Handle, stream.WithBatch(4, time.Second), stream.WithUntil(stream.FromID(ids[6])))
		if err := consumer.Run(t.Context()); err != nil {
			t.Error(err)
		}
		if s := consumer.Stats(); s.Handled != 7 || settled(ids) != 7 {
			t.Errorf("%d are settled; %+v", settled(ids), s)
		}
	})
}

// A group that has passed the place has not handled what was handed back at a stop: the next Run
// does.
func TestUntilGoesOnAfterAStop(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	numbered(t, client, 1, 10)
	rec := newRecorder()
	rec.handle = func(ctx context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "3" && len(rec.Seen()) == 3 {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	consumer := newGroup(t, client, rec.Handle, stream.WithUntil(stream.FromEnd()))
	stop := start(t, consumer)
	rec.await(t, 3)
	if err := stop(); err != nil {
		t.Error(err)
	}
	runOut(t, consumer)
	streamtest.AssertPending(t, client, orders.Name, "billing")
	if s := consumer.Stats(); s.Handled != 10 {
		t.Errorf("%+v", s)
	}
}

// A time to come is waited for, by the clock, where no entry comes.
func TestUntilATimeToCome(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		addTo(t, client, orders.Name, 3)
		begun := time.Now()
		rec := newRecorder()
		consumer := mode.make(t, client, orders.Name, rec.Handle, stream.WithUntil(stream.FromTime(begun.Add(time.Hour))))
		time.AfterFunc(30*time.Minute, func() { addTo(t, client, orders.Name, 3) })
		if err := consumer.Run(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < time.Hour || took > time.Hour+10*time.Second || len(rec.Seen()) != 6 {
			t.Errorf("Run has returned after %v, with %v", took, rec.Seen())
		}
	})
}

// A seek during a bounded Run leaves the bound where it was, and a pause is waited for.
func TestUntilWithSeekAndPause(t *testing.T) {
	t.Parallel()
	onRedisInBothModes(t, func(t *testing.T, server *streamtest.Redis, mode mode) {
		client := server.Client()
		numbered(t, client, 1, 10)
		rec := newRecorder()
		consumer := mode.make(t, client, orders.Name, rec.Handle, stream.WithUntil(stream.FromEnd()))
		pause(t, consumer, time.Hour)
		stopped := make(chan error, 1)
		go func() { stopped <- consumer.Run(t.Context()) }()
		eventually(t, "it runs", func() bool { return consumer.Health().Ready })
		numbered(t, client, 11, 20)
		if err := consumer.Seek(t.Context(), stream.FromID("7-0")); err != nil {
			t.Fatal(err)
		}
		consumer.Resume()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if got := rec.Seen(); !slices.Equal(got, numbers(8, 10)) {
			t.Errorf("delivered %v", got)
		}
	})
}

func TestUntilRefusesWhatIsNoPlace(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // not used
	t.Cleanup(func() { _ = client.Close() })
	for want, place := range map[string]stream.Start{
		`WithUntil(FromID("none")): give an entry ID`:              stream.FromID("none"),
		"WithUntil(FromBeginning()): nothing is before the beginn": stream.FromBeginning(),
	} {
		_, err := stream.NewConsumer(client, orders, &offset.Memory{}, newRecorder().Handle, stream.WithUntil(place))
		if !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
