package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// refuseBad fails for good for each order whose ID begins with bad.
func refuseBad(_ context.Context, msg *stream.Message[order]) error {
	if strings.HasPrefix(msg.Value.ID, "bad") {
		return stream.Permanent(errors.New("no"))
	}
	return nil
}

// newRefuser returns a recorder whose handler is refuseBad.
func newRefuser() *recorder {
	rec := newRecorder()
	rec.handle = refuseBad
	return rec
}

func toDeadLetters(config middleware.DeadLetterConfig) stream.Option {
	return stream.WithMiddleware(middleware.DeadLetter(config))
}

// breakDeadLetters makes the key of the dead letters one of another type.
func breakDeadLetters(t *testing.T, client *redis.Client) {
	t.Helper()
	if err := client.Set(t.Context(), "{orders}:dead", "no stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func deadLetterIDs(t *testing.T, client *redis.Client) (ids []string) {
	t.Helper()
	letters, err := client.XRange(t.Context(), "{orders}:dead", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, letter := range letters {
		ids = append(ids, letter.Values[stream.DeadLetterID].(string))
	}
	slices.SortFunc(ids, func(a, b string) int {
		left, _ := offset.Parse(a)
		right, _ := offset.Parse(b)
		return left.Compare(right)
	})
	return ids
}

// With one handler, and a hundred dead letters that cannot be written, all others go
// on. A letter that cannot be written is told once, its entry is not processed again, and
// the letter is written in the end as it was. The goroutines that are counted are those of
// the process: no other test runs beside it.
func TestDeadLettersThatCannotBeWritten(t *testing.T) {
	for _, mode := range []string{"group", "log with an order key"} {
		t.Run(mode, func(t *testing.T) {
			bubble(t, func(t *testing.T, client *redis.Client) {
				breakDeadLetters(t, client)
				rec := newRefuser()
				var out logs
				opts := []stream.Option{stream.WithLogger(out.Logger()), toDeadLetters(middleware.DeadLetterConfig{})}
				consumer := newGroup(t, client, rec.Handle, append(opts, stream.WithClaimIdle(5*time.Second))...)
				if mode != "group" {
					consumer = newConsumer(t, client, &offset.Memory{}, rec.Handle, append(opts, stream.WithOrderKey(stream.Field("id")))...)
				}
				start(t, consumer)
				goroutines := runtime.NumGoroutine()
				var bad []string
				for i := range 100 {
					bad = append(bad, add(t, client, fmt.Sprint("bad", i)))
					add(t, client, fmt.Sprint("good", i))
				}
				begun := time.Now()
				time.Sleep(20 * time.Second)
				if n := len(rec.Seen()); n != 200 {
					t.Errorf("%d deliveries, want one of each of 200", n)
				}
				if n := runtime.NumGoroutine() - goroutines; n > 50 {
					t.Errorf("%d goroutines more for a hundred dead letters", n)
				}
				if lines := out.lines("WARN", "writing to the dead letters failed; trying again until it works", "WRONGTYPE"); len(lines) != 1 {
					t.Errorf("it is told in %d lines:\n%s", len(lines), out.String())
				}
				if s := consumer.Stats(); s.Held != 100 || s.Working != 0 || s.DeadLettered != 0 || s.Handled != 100 {
					t.Errorf("%+v", s)
				}
				wantHealth(t, "while they cannot be written", consumer.Health(), true, false, "writing to the dead letters has been failing")

				client.Del(t.Context(), "{orders}:dead")
				time.Sleep(time.Second)
				if ids := deadLetterIDs(t, client); !slices.Equal(ids, bad) {
					t.Errorf("the dead letters are of %v, want %v", ids, bad)
				}
				letters, _ := client.XRange(t.Context(), "{orders}:dead", "-", "+").Result()
				for _, letter := range letters {
					at, err := time.Parse(time.RFC3339Nano, letter.Values[stream.DeadLetterTime].(string))
					if err != nil || at.Sub(begun).Abs() > time.Second || letter.Values[stream.DeadLetterAttempts] != "1" {
						t.Errorf("given up at %v after %v, want %v and 1", at, letter.Values[stream.DeadLetterAttempts], begun)
					}
				}
				time.Sleep(5 * time.Second)
				if s := consumer.Stats(); s.Held != 0 || s.DeadLettered != 100 || s.Window != 0 {
					t.Errorf("%+v", s)
				}
				wantHealth(t, "in the end", consumer.Health(), true, true, "")
				if len(out.lines("writing to the dead letters works again")) != 1 {
					t.Errorf("the log is\n%s", out.String())
				}
				if mode == "group" {
					if ids := pending(t, client); len(ids) > 0 {
						t.Errorf("pending are %v", ids)
					}
				}
			})
		})
	}
}

// silent is a server that takes connections and never answers.
type silent struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (s *silent) client(t *testing.T) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", MaxRetries: -1, ReadTimeout: -1, WriteTimeout: -1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conns = append(s.conns, here, there)
			go func() { _, _ = there.Read(make([]byte, 1)) }()
			return here, nil
		},
	})
	t.Cleanup(func() {
		_ = client.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, conn := range s.conns {
			_ = conn.Close()
		}
		synctest.Wait()
	})
	return client
}

// A server of their own for dead letters that does not answer holds up nothing, and a
// stop does not wait for it: the entries are handed back, without an attempt of theirs
// used up.
func TestDeadLetterServerThatStandsStill(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		rec := newRefuser()
		seen := &recorded{}
		consumer := newGroup(t, client, rec.Handle, toDeadLetters(middleware.DeadLetterConfig{Client: (&silent{}).client(t)}),
			stream.WithObserver(seen))
		stop := start(t, consumer)
		var bad []string
		for i := range 30 {
			bad = append(bad, add(t, client, fmt.Sprint("bad", i)))
			add(t, client, fmt.Sprint("good", i))
		}
		time.Sleep(5 * time.Second)
		if s := consumer.Stats(); s.Handled != 30 || s.Held != 30 {
			t.Errorf("%+v", s)
		}
		begun := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		if ids := pending(t, client); !slices.Equal(ids, bad) {
			t.Errorf("pending are %v, want %v", ids, bad)
		}
		if s := consumer.Stats(); s.HandedBack != 30 || s.DeadLettered != 0 {
			t.Errorf("%+v", s)
		}
		ends := 0
		for _, end := range seen.of("end") {
			if strings.Contains(end, "interrupted") {
				ends++
			}
		}
		if ends != 30 {
			t.Errorf("%d deliveries were interrupted, want 30", ends)
		}

		there := newGroup(t, client, rec.Handle, toDeadLetters(middleware.DeadLetterConfig{}))
		start(t, there)
		time.Sleep(5 * time.Second)
		if ids := deadLetterIDs(t, client); !slices.Equal(ids, bad) {
			t.Errorf("the dead letters are of %v, want %v", ids, bad)
		}
	})
}

// The worker of a dead letter waits a moment for the first try: what becomes of the entry
// is told before the next one is handled, also where the letter cannot be written.
func TestDeadLetterIsToldBeforeTheNextEntry(t *testing.T) {
	t.Parallel()
	for line, broken := range map[string]bool{
		"entry passed: it is in the dead letters now": false,
		"writing to the dead letters failed":          true,
	} {
		t.Run(line, func(t *testing.T) {
			bubble(t, func(t *testing.T, client *redis.Client) {
				if broken {
					breakDeadLetters(t, client)
				}
				var out logs
				rec := newRecorder()
				rec.handle = func(ctx context.Context, msg *stream.Message[order]) error {
					if msg.Value.ID == "good" && len(out.lines(line)) != 1 {
						t.Errorf("the next entry is handled before that is told:\n%s", out.String())
					}
					return refuseBad(ctx, msg)
				}
				start(t, newGroup(t, client, rec.Handle, toDeadLetters(middleware.DeadLetterConfig{}), stream.WithLogger(out.Logger())))
				add(t, client, "bad")
				add(t, client, "good")
				time.Sleep(time.Second)
				if n := len(rec.Seen()); n != 2 {
					t.Errorf("%d deliveries, want 2", n)
				}
			})
		})
	}
}

// A worker does not wait for a server of dead letters that has just made it wait.
func TestDeadLetterServerThatIsSlow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		rec := newRefuser()
		consumer := newGroup(t, client, rec.Handle, toDeadLetters(middleware.DeadLetterConfig{Client: (&silent{}).client(t)}))
		start(t, consumer)
		for i := range 100 {
			add(t, client, fmt.Sprint("bad", i))
		}
		add(t, client, "good")
		time.Sleep(50 * time.Millisecond)
		if s := consumer.Stats(); s.Handled != 1 || s.Held != 100 {
			t.Errorf("after 50 ms: %+v", s)
		}
	})
}

// A stop uses up no attempt of an entry whose dead letter was not written.
func TestAttemptsOfADeadLetterAfterAStop(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	breakDeadLetters(t, client)
	add(t, client, "bad")
	rec := newRefuser()
	consumer := newGroup(t, client, rec.Handle, toDeadLetters(middleware.DeadLetterConfig{}))
	stop := start(t, consumer)
	eventually(t, "it is held", func() bool { return consumer.Stats().Held == 1 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	command(t, client, "DEL", "{orders}:dead")
	start(t, consumer)
	eventually(t, "it is written", func() bool { return consumer.Stats().DeadLettered == 1 })
	if letter := deadLetters(t, client, "{orders}:dead")[0]; !slices.Contains(letter, stream.DeadLetterAttempts) || letter[slices.Index(letter, stream.DeadLetterAttempts)+1] != "1" {
		t.Errorf("the dead letter is %q, want one attempt", letter)
	}
}

// A stop while dead letters cannot be written does not wait for the drain timeout.
func TestStopWhileDeadLettersCannotBeWritten(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		breakDeadLetters(t, client)
		add(t, client, "good")
		add(t, client, "bad")
		rec := newRefuser()
		consumer := mode.make(t, client, "orders", rec.Handle, toDeadLetters(middleware.DeadLetterConfig{}), stream.WithDrainTimeout(time.Minute))
		stop := start(t, consumer)
		time.Sleep(10 * time.Second)
		begun := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the stop took %v", took)
		}
		if s := consumer.Stats(); s.Handled != 1 || s.DeadLettered != 0 {
			t.Errorf("%+v", s)
		}
		client.Del(t.Context(), "{orders}:dead")
		start(t, consumer)
		time.Sleep(5 * time.Second)
		if s := consumer.Stats(); s.Handled != 1 || s.DeadLettered != 1 {
			t.Errorf("after the next start: %+v", s)
		}
	})
}

// A handler that drains makes a dead letter after the stop: that is written.
func TestDeadLetterWhileDraining(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T, client *redis.Client, mode mode) {
		id := add(t, client, "bad")
		rec := newRecorder()
		rec.handle = func(ctx context.Context, msg *stream.Message[order]) error {
			time.Sleep(10 * time.Second)
			return refuseBad(ctx, msg)
		}
		consumer := mode.make(t, client, "orders", rec.Handle, toDeadLetters(middleware.DeadLetterConfig{}), stream.WithDrainTimeout(time.Minute))
		stop := start(t, consumer)
		time.Sleep(5 * time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if ids := deadLetterIDs(t, client); !slices.Equal(ids, []string{id}) {
			t.Errorf("the dead letters are of %v", ids)
		}
	})
}

// An entry that another consumer has claimed while its dead letter could not be written
// is dropped at once, and its place is free.
func TestDeadLetterOfAnEntryThatWasClaimed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		breakDeadLetters(t, client)
		rec := newRefuser()
		seen := &recorded{}
		consumer := newGroup(t, client, rec.Handle, toDeadLetters(middleware.DeadLetterConfig{}), stream.WithObserver(seen), stream.WithClaimIdle(3*time.Second))
		start(t, consumer)
		var bad []string
		var stolen, kept []string
		for i := range 40 {
			bad = append(bad, add(t, client, fmt.Sprint("bad", i)))
			if i%2 == 0 {
				stolen = append(stolen, bad[i])
			} else {
				kept = append(kept, bad[i])
			}
		}
		time.Sleep(10 * time.Second)
		if err := client.XClaim(t.Context(), &redis.XClaimArgs{Stream: "orders", Group: "billing", Consumer: "thief", Messages: stolen}).Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if s := consumer.Stats(); s.Held != 20 || s.Window != 20 || s.WindowBytes == 0 || s.WindowBytes > 20*200 {
			t.Errorf("%+v", s)
		}
		claimed := 0
		for _, end := range seen.of("end") {
			if strings.Contains(end, "claimed") {
				claimed++
			}
		}
		if claimed != 20 {
			t.Errorf("%d deliveries ended as claimed, want 20", claimed)
		}
		client.Del(t.Context(), "{orders}:dead")
		time.Sleep(time.Second)
		if ids := deadLetterIDs(t, client); !slices.Equal(ids, kept) {
			t.Errorf("the dead letters are of %v, want %v", ids, kept)
		}
		if ids := pending(t, client); !slices.Equal(ids, stolen) {
			t.Errorf("pending are %v, want those of the thief", ids)
		}
	})
}

// An entry that is held for its dead letter stays this consumer's, however long that takes:
// no other consumer claims it.
func TestEntriesOfDeadLettersAreRenewed(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		breakDeadLetters(t, client)
		rec := newRefuser()
		start(t, newGroup(t, client, rec.Handle, toDeadLetters(middleware.DeadLetterConfig{}), stream.WithClaimIdle(3*time.Second)))
		for i := range 20 {
			add(t, client, fmt.Sprint("bad", i))
		}
		time.Sleep(time.Second)
		other := newRecorder()
		start(t, newGroup(t, client, other.Handle, stream.WithClaimIdle(3*time.Second)))
		time.Sleep(time.Minute)
		if n := len(other.Seen()); n > 0 {
			t.Errorf("another consumer has %d of them", n)
		}
		if n := len(rec.Seen()); n != 20 {
			t.Errorf("%d deliveries, want 20", n)
		}
	})
}

// The window bounds the entries held for dead letters, too.
func TestDeadLettersFillTheWindow(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		breakDeadLetters(t, client)
		for i := range 100 {
			add(t, client, fmt.Sprint("bad", i))
		}
		rec := newRefuser()
		var out logs
		consumer := newGroup(t, client, rec.Handle, toDeadLetters(middleware.DeadLetterConfig{}), stream.WithWindow(20), stream.WithReadCount(10), stream.WithLogger(out.Logger()))
		start(t, consumer)
		time.Sleep(time.Minute)
		if s := consumer.Stats(); s.Window > 20 || s.Held != 20 || s.Read != 20 {
			t.Errorf("%+v", s)
		}
		if len(out.lines("WARN", "reading paused", "waits for its dead letter to be written")) == 0 {
			t.Errorf("the log is\n%s", out.String())
		}
		client.Del(t.Context(), "{orders}:dead")
		time.Sleep(10 * time.Second)
		if s := consumer.Stats(); s.DeadLettered != 100 || s.Window != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Letters for one server do not wait for those of another, nor those that can be
// written for one that cannot.
func TestDeadLettersOfSeveralKinds(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		breakDeadLetters(t, client)
		far := (&silent{}).client(t)
		rec := newRecorder()
		rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
			failure := &stream.DeadLetterError{Err: errors.New("no")}
			switch msg.Value.ID {
			case "far":
				failure.Client = far
			case "fine", "later":
				failure.Stream = msg.Value.ID
			}
			return failure
		}
		var out logs
		consumer := newGroup(t, client, rec.Handle, stream.WithLogger(out.Logger()))
		start(t, consumer)
		client.Set(t.Context(), "later", "no stream", 0)
		add(t, client, "later")
		for range 50 {
			for _, id := range []string{"far", "broken", "fine"} {
				add(t, client, id)
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if n := client.XLen(t.Context(), "fine").Val(); n != 50 {
			t.Errorf("%d dead letters were written, want 50", n)
		}
		if s := consumer.Stats(); s.DeadLettered != 50 || s.Held != 101 {
			t.Errorf("%+v", s)
		}
		client.Del(t.Context(), "later")
		time.Sleep(20 * time.Second)
		if s := consumer.Stats(); s.DeadLettered != 51 || s.Held != 100 {
			t.Errorf("%+v", s)
		}
		if n := len(out.lines("dead letters failed")) + len(out.lines("works again")); n != 1 {
			t.Errorf("%d lines say so:\n%s", n, out.String())
		}
	})
}

// Those that wait behind letters for a server that stands still are dropped likewise.
func TestClaimedEntriesWaitForNoServerOfDeadLetters(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		elsewhere, outage := withOutage(t, client)
		outage.set(frozen)
		rec := newRecorder()
		rec.handle = refuseBad
		consumer := newGroup(t, client, rec.Handle, toDeadLetters(middleware.DeadLetterConfig{Client: elsewhere}), stream.WithClaimIdle(time.Second))
		start(t, consumer)
		var stolen []string
		for i := range 40 {
			stolen = append(stolen, add(t, client, fmt.Sprint("bad", i)))
		}
		time.Sleep(100 * time.Millisecond)
		if err := client.XClaim(t.Context(), &redis.XClaimArgs{Stream: "orders", Group: "billing", Consumer: "thief", Messages: stolen}).Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // a write may take twice that
		if bytes := consumer.Stats().WindowBytes; bytes > 8*200 {
			t.Errorf("the window still has %d bytes of entries that were claimed, want those of 8 at most", bytes)
		}
		outage.set(up)
		time.Sleep(10 * time.Second)
	})
}
