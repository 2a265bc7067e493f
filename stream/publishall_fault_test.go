package stream_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// The connection breaks in the middle of 10,000 values: in the middle of a
// reply, or of all replies.
func TestPublishAllOverABrokenConnection(t *testing.T) {
	t.Parallel()
	for name, fates := range map[string][]fate{
		"lost":   {deliver, deliver, lose},
		"halved": {deliver, deliver, halve},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t)
			proxy := startFates(t, server)
			producer := newProducer(t, proxy.client(t, redis.Options{}))
			values := ordersOf(10_000)
			values[3].ID = ""
			proxy.next(xadd, fates...)
			results, err := producer.PublishAll(t.Context(), values)
			if !isUnknown(err) {
				t.Errorf("got %v, want an UnknownWriteError, graver than the EncodeError before it", err)
			}
			checkAgainst(t, server.Client(), values, results)
			if last := results[len(results)-1]; !isNotWritten(last.Err) || !errors.Is(last.Err, io.EOF) && !errors.Is(last.Err, io.ErrUnexpectedEOF) {
				t.Errorf("the last value: %v", last.Err)
			}

			// With keys, all can be given again, and what is there stays.
			proxy.next(scripts, fates...)
			key := func(o order) string { return "again" + o.ID }
			if _, err := producer.PublishAllOnce(t.Context(), key, values[4:]); err != nil {
				t.Errorf("the client's own retries do not help: %v", err)
			}
		})
	}
}

// checkAgainst compares what PublishAll says with what the server has.
func checkAgainst(t *testing.T, client *redis.Client, values []order, results []stream.Published) {
	t.Helper()
	there := make(map[string]bool)
	inOrder := stored(t, client)
	for _, id := range inOrder {
		if there[id] {
			t.Errorf("value %s is there twice", id)
		}
		there[id] = true
	}
	counts := make(map[string]int)
	for i, result := range results {
		switch {
		case result.Err == nil:
			counts["written"]++
			if !there[values[i].ID] {
				t.Errorf("value %d has the ID %s and is not there", i, result.ID)
			}
		case isUnknown(result.Err):
			counts["unknown"]++
		default:
			counts["not"]++
			if there[values[i].ID] {
				t.Errorf("value %d is there, the error says it is not: %v", i, result.Err)
			}
		}
	}
	if counts["written"] == 0 || counts["unknown"] == 0 || counts["not"] == 0 {
		t.Errorf("the test shows too little: %v, %d entries", counts, len(there))
	}
	if !slices.IsSortedFunc(inOrder, func(a, b string) int { return len(a) - len(b) }) {
		t.Error("the entries are not in the order of the values")
	}
}
