package streamtest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// failing is a test that may fail without a failure of the test that uses it.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Errorf(format string, args ...any) { f.said += fmt.Sprintf(format, args...) + "\n" }

func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(f) // in place of the end of the goroutine
}

// says calls a function that has to fail its test, and returns the message of the failure.
func says(t *testing.T, do func(t testing.TB)) string {
	t.Helper()
	f := &failing{TB: t}
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(f) {
				panic(p)
			}
		}()
		do(f)
	}()
	if f.said == "" {
		t.Error("it does not fail")
	}
	return f.said
}

func TestAssertsFail(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		acked, pending, unread := add(t, b.Client, "a"), add(t, b.Client, "b"), add(t, b.Client, "c")
		if err := b.Client.XGroupCreate(t.Context(), "orders", "billing", "0").Err(); err != nil {
			t.Fatal(err)
		}
		err := b.Client.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: "billing", Consumer: "me", Streams: []string{"orders", ">"}, Count: 2,
		}).Err()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Client.XAck(t.Context(), "orders", "billing", acked).Err(); err != nil {
			t.Fatal(err)
		}
		streamtest.AssertAcked(t, b.Client, "orders", "billing", acked)
		streamtest.AssertPending(t, b.Client, "orders", "billing", pending)
		streamtest.AssertDeadLettered(t, b.Client, "dead")

		for _, ids := range [][]string{nil, {acked, acked}, {acked, pending}, {acked, unread}, {unread}} {
			said := says(t, func(t testing.TB) { streamtest.AssertAcked(t, b.Client, "orders", "billing", ids...) })
			if !strings.Contains(said, acked) {
				t.Errorf("it says %q", said)
			}
		}
		for _, ids := range [][]string{nil, {acked}, {pending, unread}} {
			says(t, func(t testing.TB) { streamtest.AssertPending(t, b.Client, "orders", "billing", ids...) })
		}
		says(t, func(t testing.TB) { streamtest.AssertAcked(t, b.Client, "orders", "nobody") })
		says(t, func(t testing.TB) { streamtest.AssertPending(t, b.Client, "orders", "nobody") })

		letter := []string{"id", "a", stream.DeadLetterID, acked}
		for range 2 {
			if err := b.Client.XAdd(context.Background(), &redis.XAddArgs{Stream: "dead", Values: letter}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		streamtest.AssertDeadLettered(t, b.Client, "dead", acked, acked)
		says(t, func(t testing.TB) { streamtest.AssertDeadLettered(t, b.Client, "dead", acked) })
		says(t, func(t testing.TB) { streamtest.AssertDeadLettered(t, b.Client, "dead", acked, pending) })
	})
}

func TestAwaitFailsWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, _ *streamtest.Bubble) {
		said := says(t, func(t testing.TB) { streamtest.Await(t, "pigs fly", func() bool { return false }) })
		if !strings.Contains(said, "30s") || !strings.Contains(said, "pigs fly") {
			t.Errorf("it says %q", said)
		}
	})
}

// The IDs of many entries fill more than one page.
func TestEntryIDsOfALongStream(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		for _, n := range []int{0, 1000, 500} {
			before := len(streamtest.EntryIDs(t, b.Client, "orders"))
			for i := range n {
				add(t, b.Client, fmt.Sprint(i))
			}
			if after := len(streamtest.EntryIDs(t, b.Client, "orders")); after != before+n {
				t.Errorf("%d IDs, want %d more than %d", after, n, before)
			}
		}
	})
}
