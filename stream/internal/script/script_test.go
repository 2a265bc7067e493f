package script_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/script"
	"millrace/stream/streamtest"
)

// A consumer that has something pending is not removed: what a read that nobody
// awaits any more has left there at the last moment would go with it. No test from
// outside meets that moment.
func TestLeaveKeepsAConsumerWithPendingEntries(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	if err := client.XGroupCreateMkStream(ctx, "s", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	id := client.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []string{"a", "1"}}).Val()
	if err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "me", Streams: []string{"s", ">"}}).Err(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ left, consumers int }{{0, 1}, {1, 0}} {
		left, err := script.Leave.Run(ctx, client, []string{"s"}, "g", "me").Int()
		if n := len(client.XInfoConsumers(ctx, "s", "g").Val()); err != nil || left != step.left || n != step.consumers {
			t.Fatalf("leaving returned %d, %v, and there are %d consumers; want %+v", left, err, n, step)
		}
		if err := client.XAck(ctx, "s", "g", id).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// A group that begins at a time in the future (FromTime) is ahead of its stream, and is not
// set back, whichever consumer looks at it. At any other place ahead of it, entries were read
// that have gone.
func TestUnreadLeavesAGroupThatBeginsInTheFuture(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	if err := client.XAdd(ctx, &redis.XAddArgs{Stream: "s", ID: "5-0", Values: []string{"a", "1"}}).Err(); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string]string{"9-18446744073709551615": "", "9-1844674407370955161": "ahead"} {
		if err := client.XGroupCreate(ctx, "s", place, place).Err(); err != nil {
			t.Fatal(err)
		}
		reply, err := script.Unread.Run(ctx, client, []string{"s"}, place, "", "", -1, 0, "").Slice()
		if err != nil || reply[0] != want {
			t.Errorf("of a group at %s was found %q, %v; want %q", place, reply[0], err, want)
		}
	}
}
