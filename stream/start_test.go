package stream_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

func addWithID(t testing.TB, client redis.UniversalClient, entryID, orderID string) {
	t.Helper()
	err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: entryID, Values: []string{"id", orderID}}).Err()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	for _, id := range []string{"1000-0", "2000-0", "2000-1", "3000-5"} {
		addWithID(t, client, id, id)
	}
	for _, test := range []struct {
		name  string
		start stream.Start
		want  []string
	}{
		{"zero", stream.Start{}, []string{"1000-0", "2000-0", "2000-1", "3000-5"}},
		{"beginning", stream.FromBeginning(), []string{"1000-0", "2000-0", "2000-1", "3000-5"}},
		{"end", stream.FromEnd(), nil},
		{"after an ID", stream.FromID("2000-0"), []string{"2000-1", "3000-5"}},
		{"after an ID without sequence", stream.FromID("2000"), []string{"2000-1", "3000-5"}},
		{"after an ID that is not there", stream.FromID("2500-7"), []string{"3000-5"}},
		{"at a time", stream.FromTime(time.UnixMilli(2000)), []string{"2000-0", "2000-1", "3000-5"}},
		{"before a time", stream.FromTime(time.UnixMilli(2001)), []string{"3000-5"}},
		{"at the epoch", stream.FromTime(time.UnixMilli(0)), []string{"1000-0", "2000-0", "2000-1", "3000-5"}},
		{"long ago", stream.FromTime(time.Time{}), []string{"1000-0", "2000-0", "2000-1", "3000-5"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := &offset.Memory{}
			rec := newRecorder()
			stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithStart(test.start)))
			seen := rec.await(t, len(test.want))
			if !slices.Equal(seen, test.want) {
				t.Errorf("delivered %v, want %v", seen, test.want)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A hand-written consumer may have stored an offset in any form that Redis takes.
func TestStoredOffsetsInOtherForms(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for _, id := range []string{"1000-0", "2000-0", "2000-1"} {
		addWithID(t, client, id, id)
	}
	for stored, want := range map[string][]string{
		"0":        {"1000-0", "2000-0", "2000-1"},
		"2000":     {"2000-1"},
		"02000-00": {"2000-1"},
	} {
		rec := newRecorder()
		consumer := newConsumer(t, client, constStore{id: stored}, rec.Handle)
		stop := start(t, consumer)
		if seen := rec.await(t, len(want)); !slices.Equal(seen, want) {
			t.Errorf("from %q: delivered %v, want %v", stored, seen, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if lost := consumer.Stats().Lost; lost != 0 {
			t.Errorf("from %q: %d entries are counted as lost", stored, lost)
		}
	}
}

// The end is looked up once. What is added between two runs of a consumer that
// has not had an entry yet is delivered, also when the stream was empty.
func TestEndIsKept(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]int{"empty stream": 0, "stream with entries": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t).Client()
			for range before {
				add(t, client, "old")
			}
			store := &offset.Memory{}
			rec := newRecorder()
			consumer := newConsumer(t, client, store, rec.Handle, stream.WithStart(stream.FromEnd()))
			stop := start(t, consumer)
			streamtest.Await(t, "the end is stored", func() bool {
				_, found, _ := store.Load(t.Context(), "orders")
				return found
			})
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			add(t, client, "between")
			start(t, consumer)
			if seen := rec.await(t, 1); !slices.Equal(seen, []string{"between"}) {
				t.Errorf("delivered %v", seen)
			}
		})
	}
}

func TestStoredOffsetBeatsStart(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	addWithID(t, client, "1-0", "a")
	addWithID(t, client, "2-0", "b")
	store := &offset.Memory{}
	if err := store.Save(t.Context(), "mine", "1-0"); err != nil {
		t.Fatal(err)
	}
	rec := newRecorder()
	start(t, newConsumer(t, client, store, rec.Handle, stream.WithLabel("mine"), stream.WithStart(stream.FromEnd())))
	if seen := rec.await(t, 1); !slices.Equal(seen, []string{"b"}) {
		t.Errorf("delivered %v", seen)
	}
}
