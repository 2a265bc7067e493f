package loss_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/streamtest"
)

// A consumer of a group finds the entries that the group will never read, once, and a place
// that its stream does not have any more, to which it is set back.
func TestGroupFinder(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	position := "0-0"
	var told []loss.Finding
	f := loss.NewGroupFinder(loss.Group{
		Stream: loss.Stream{Client: client, Name: "s"}, Group: "g", Consumer: "me",
		Position: func() string { return position },
		Tell:     func(found loss.Finding) { told = append(told, found) },
	})
	want := func(when string, want ...loss.Finding) {
		t.Helper()
		for range 2 { // nothing is found twice
			if err := f.Check(ctx); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %+v, want %+v", when, told, want)
		}
		told = nil
	}
	read := func(count int64) {
		t.Helper()
		got, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "me", Streams: []string{"s", ">"}, Count: count}).Result()
		if err != nil {
			t.Fatal(err)
		}
		position = f.Read(resp.BatchesOf(got, resp.NoLimit)[0])
	}
	if err := client.XGroupCreateMkStream(ctx, "s", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.Begin(ctx, true); err != nil {
		t.Fatal(err)
	}
	add(t, client, "1-0", "2-0", "3-0", "4-0")
	read(2)
	want("some are read")

	client.XTrimMaxLen(ctx, "s", 1)
	want("one was trimmed", loss.Finding{Cause: loss.Trimmed, From: "2-0", To: "4-0", Count: 1, Exact: true})

	read(1)
	if err := f.Compare(ctx); err != nil || told != nil {
		t.Errorf("the stream is as it was: told %+v, %v", told, err)
	}
	client.Del(ctx, "s")
	add(t, client, "1-0", "2-0")
	f.ReadFailed(errors.New("the connection was cut"))
	for range 2 {
		if err := f.Compare(ctx); err != nil {
			t.Error(err)
		}
	}
	if want := []loss.Finding{{Cause: loss.Ahead, From: "4-0", To: "1-0", Count: -1, Back: "2-0"}}; !slices.Equal(told, want) {
		t.Errorf("the stream has gone back: told %+v, want %+v", told, want)
	}
	told, position = nil, "2-0"

	if err := client.XGroupCreate(ctx, "s", "g", "9-0").Err(); err != nil {
		t.Fatal(err)
	}
	f.Remade(true)
	want("the group is ahead of the stream", loss.Finding{Cause: loss.Ahead, From: "9-0", Count: -1, Back: "2-0"})
	if at := client.XInfoGroups(ctx, "s").Val(); len(at) != 1 || at[0].LastDeliveredID != "2-0" {
		t.Errorf("the group was not set back: %+v", at)
	}
}

// All reads are guarded until the number of the group's place is known. A guard begins the count
// then, but not while a read that was lost may still wait on the server.
func TestReadsAreGuardedUntilTheCountBegins(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	f := loss.NewGroupFinder(loss.Group{
		Stream: loss.Stream{Client: client, Name: "s"}, Group: "g", Consumer: "me",
		Position: func() string { return "0-0" },
		Tell:     func(found loss.Finding) { t.Errorf("told %+v", found) },
	})
	reader, err := conn.NewReader(ctx, client, time.Second, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	want := func(when string, all bool) {
		t.Helper()
		if f.GuardsAll() != all {
			t.Errorf("%s, it is %v that all reads are guarded", when, !all)
		}
	}
	read := func() {
		t.Helper()
		guards, err := f.Guard(ctx, true)
		if err != nil || len(guards) != 1 {
			t.Fatalf("there are %d guards, %v", len(guards), err)
		}
		over := guards.With(reader)
		got, err := conn.Only(reader.ReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "me", Streams: []string{"s", ">"}, Count: 1, Block: time.Millisecond}, resp.NoLimit))
		over()
		guards.Over()
		if err != nil {
			t.Fatal(err)
		}
		if got.Len() > 0 {
			f.Read(got)
		}
	}
	add(t, client, "1-0", "2-0", "3-0", "4-0", "5-0")
	if err := client.XGroupCreate(ctx, "s", "g", "2-0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.Begin(ctx, false); err != nil {
		t.Fatal(err)
	}
	want("in the middle", true)
	read()
	read()
	read()
	want("behind guards in the middle", true)
	read()
	want("behind a guard at the end", false)
	f.ReadFailed(errors.New("the connection was cut"))
	want("behind a read that was lost", false)
	f.ReadFailed(client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "none", Consumer: "me", Streams: []string{"s", ">"}}).Err())
	want("behind an answer", true)
	if err := f.Check(ctx); err != nil {
		t.Error(err)
	}
	want("behind a look around at the end", false)
}

// A guard finds the entries that were trimmed since the look before, and lets others look
// once it has its reply.
func TestGuard(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	var told []loss.Finding
	f := loss.NewGroupFinder(loss.Group{
		Stream: loss.Stream{Client: client, Name: "s"}, Group: "g", Consumer: "me",
		Position: func() string { return "0-0" },
		Tell:     func(found loss.Finding) { told = append(told, found) },
	})
	if err := client.XGroupCreateMkStream(ctx, "s", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.Begin(ctx, true); err != nil {
		t.Fatal(err)
	}
	add(t, client, "1-0", "2-0", "3-0")
	if err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "me", Streams: []string{"s", ">"}, Count: 1}).Err(); err != nil {
		t.Fatal(err)
	}
	client.XTrimMaxLen(ctx, "s", 1)
	guards, err := f.Guard(ctx, true)
	if err != nil || len(guards) != 1 {
		t.Fatalf("there are %d guards, %v", len(guards), err)
	}
	if others, err := f.Guard(ctx, false); len(others) != 0 || err != nil {
		t.Errorf("another read is guarded while the first one is on its way: %v", err)
	}
	reader, err := conn.NewReader(ctx, client, time.Second, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	over := guards.With(reader)
	_, err = reader.ReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "me", Streams: []string{"s", ">"}}, resp.NoLimit)
	over()
	if others, failed := f.Guard(ctx, false); len(others) != 1 || failed != nil || err != nil {
		t.Errorf("behind the read, %v, the next one is not guarded: %v", err, failed)
	}
	guards.Over()
	if want := []loss.Finding{{Cause: loss.Trimmed, From: "1-0", To: "3-0", Count: 1, Exact: true}}; !slices.Equal(told, want) {
		t.Errorf("told %+v, want %+v", told, want)
	}
}
