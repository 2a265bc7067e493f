package script_test

import (
	"testing"

	"millrace/stream/internal/script"
	"millrace/stream/streamtest"
)

// A relay that stood still while another one has taken its place adds nothing, and removes no gate.
func TestOutboxKnowsItsOwner(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx, topic, gates := t.Context(), "topic", "{topic}:outbox"
	take := func(owner string, lease int) int64 {
		t.Helper()
		reply, err := script.TakeOutbox.Run(ctx, client, []string{gates}, owner, lease, "").Slice()
		if err != nil {
			t.Fatal(err)
		}
		return reply[0].(int64)
	}
	publish := func(owner string, args ...any) int64 {
		t.Helper()
		reply, err := script.PublishOutbox.Run(ctx, client, []string{topic, gates}, append([]any{owner}, args...)...).Slice()
		if err != nil {
			t.Fatal(err)
		}
		return reply[0].(int64)
	}
	if n := publish("one", 0, "a", 1, 2, "f", "v"); n != -1 {
		t.Errorf("without an owner, %d rows were published", n)
	}
	if wait := take("one", 60_000); wait != 0 {
		t.Errorf("the first one has to wait %d ms", wait)
	}
	if n := publish("one", 0, "a", 1, 2, "f", "v", "b", 2, 2, "f", "v"); n != 2 {
		t.Errorf("%d rows are published; want 2", n)
	}
	if n := publish("one", 1, "a", "b", 2, 2, "f", "v", "c", 3, 2, "f", "v"); n != 2 {
		t.Errorf("%d rows are published, one of them again; want 2", n)
	}
	if wait := take("two", 60_000); wait <= 0 || wait > 60_000 {
		t.Errorf("another one has to wait %d ms", wait)
	}
	if wait := take("two", 0); wait != 0 {
		t.Errorf("without a lease, another one has to wait %d ms", wait)
	}
	if n := publish("one", 1, "b", "d", 4, 2, "f", "v"); n != -1 {
		t.Errorf("one that is not the owner any more has published %d rows", n)
	}
	if n, err := script.LeaveOutbox.Run(ctx, client, []string{gates}, "one", "c").Int(); n != 0 || err != nil {
		t.Errorf("one that is not the owner any more has left: %d, %v", n, err)
	}
	if n := client.XLen(ctx, topic).Val(); n != 3 {
		t.Errorf("the stream has %d entries; want 3", n)
	}
	for token, want := range map[string]bool{"a": false, "b": true, "c": true, "d": false} {
		if has := client.HExists(ctx, gates, token).Val(); has != want {
			t.Errorf("there is a gate for %s: %t", token, has)
		}
	}
	if n, err := script.LeaveOutbox.Run(ctx, client, []string{gates}, "two", "b").Int(); n != 1 || err != nil || client.HGet(ctx, gates, "at").Val() != "0" {
		t.Errorf("the owner has not left: %d, %v", n, err)
	}
	if n, err := script.LeaveOutbox.Run(ctx, client, []string{gates}, "two", "c").Int(); n != 1 || err != nil || client.Exists(ctx, gates).Val() != 0 {
		t.Errorf("the last gate has not gone: %d, %v", n, err)
	}
}
