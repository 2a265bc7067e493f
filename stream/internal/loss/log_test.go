package loss_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/streamtest"
)

// add adds an entry for each ID.
func add(t *testing.T, client redis.UniversalClient, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", ID: id, Values: []string{"number", id}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// entriesOf makes entries as add adds them.
func entriesOf(ids ...string) (entries []resp.Entry) {
	for _, id := range ids {
		entries = append(entries, resp.Entry{ID: id, Fields: codec.FieldsOf("number", id)})
	}
	return entries
}

// A reader in log mode that has read some of a stream finds the loss of others, once, be it
// that the entry at its place has gone as well, or not.
func TestLogFinder(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	f := loss.NewLogFinder(loss.Stream{Client: client, Name: "s"})
	f.SetPlace(resp.Place{ID: resp.Beginning})
	want := func(when string, sound bool, want loss.Finding) {
		t.Helper()
		if got, err := f.Look(ctx); err != nil || got != sound {
			t.Errorf("%s: it looks sound: %v, %v", when, got, err)
		}
		for _, want := range []loss.Finding{want, {}} {
			if got, err := f.Find(ctx); err != nil || got != want {
				t.Errorf("%s: found %+v, %v; want %+v", when, got, err, want)
			}
		}
	}
	if err := f.Begin(ctx, false); err != nil {
		t.Fatal(err)
	}
	add(t, client, "1-0", "2-0", "3-0", "4-0")
	f.Read(entriesOf("1-0", "2-0"))
	want("some are read", true, loss.Finding{})

	client.XDel(ctx, "s", "3-0")
	if f.Read(entriesOf("4-0")) {
		t.Error("the entry that was deleted is not missed")
	}
	want("one was deleted", false, loss.Finding{Cause: loss.Trimmed, From: "0-0", To: "4-0", Count: 1, Exact: true})

	add(t, client, "5-0", "6-0", "7-0")
	client.XTrimMaxLen(ctx, "s", 1)
	want("some were trimmed, with the one at the place", false, loss.Finding{Cause: loss.Trimmed, From: "4-0", To: "7-0", Count: 2, Exact: true})

	f.Read(entriesOf("7-0"))
	client.Del(ctx, "s")
	add(t, client, "6-0", "8-0")
	want("the stream is another one", false, loss.Finding{Cause: loss.Replaced, From: "7-0", To: "6-0", Count: -1})
	if at, err := f.LastKnown(ctx); err != nil || at.ID != resp.Beginning {
		t.Errorf("of the other stream %v was read, %v", at, err)
	}
}

// The last place that is known is one that the stream still has, and that its ID does not
// confuse with another entry.
func TestLastKnownPlace(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	f := loss.NewLogFinder(loss.Stream{Client: client, Name: "s"})
	for n := 1; n <= 4; n++ {
		f.Read(entriesOf(fmt.Sprint(n, "-0")))
	}
	add(t, client, "1-0", "2-0")
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", ID: "3-0", Values: []string{"number", "another"}}).Err(); err != nil {
		t.Fatal(err)
	}
	if at, err := f.LastKnown(t.Context()); err != nil || at.ID != "2-0" {
		t.Errorf("the last known place is %v, %v", at, err)
	}
}

// With the last IDs, the last entry of a batch of which the stream has lost the end is known too.
func TestLastKnownPlaceInABatch(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for has := 1; has <= 6; has++ {
		add(t, client, fmt.Sprint(has, "-0"))
		f := loss.NewLogFinder(loss.Stream{Client: client, Name: "s"})
		f.KeepRecent()
		f.Read(entriesOf("1-0"))
		f.Read(entriesOf("2-0", "3-0", "4-0", "5-0", "6-0"))
		f.Read(entriesOf("7-0"))
		if at, err := f.LastKnown(t.Context()); err != nil || at.ID != fmt.Sprint(has, "-0") {
			t.Errorf("the last known place is %v, %v, want %d-0", at, err, has)
		}
	}
}
