package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// deadLetter is a dead letter as Redis holds it: all pairs, in their order.
func deadLetters(t testing.TB, client redis.UniversalClient, key string) (letters [][]string) {
	t.Helper()
	reply, err := client.Do(context.Background(), "XRANGE", key, "-", "+").Slice()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range reply {
		var pairs []string
		for _, text := range entry.([]any)[1].([]any) {
			pairs = append(pairs, text.(string))
		}
		letters = append(letters, pairs)
	}
	return letters
}

func giveUp(config stream.DeadLetterError) *recorder {
	rec := newRecorder()
	rec.handle = func(context.Context, *stream.Message[order]) error {
		failure := config
		failure.Attempts, failure.Err = 7, errors.New("of no use")
		return &failure
	}
	return rec
}

// manyFields is more than a Lua script can hand to one command.
func manyFields() []string {
	pairs := []string{"id", "x"}
	for i := range 5000 {
		pairs = append(pairs, fmt.Sprint("f", i), "v")
	}
	return pairs
}

func TestDeadLetterKeepsTheOriginalByteForByte(t *testing.T) {
	t.Parallel()
	for name, pairs := range map[string][]string{
		"plain":                  {"id", "x", "amount", "1"},
		"order":                  {"z", "1", "id", "x", "a", "2"},
		"repeated names":         {"id", "x", "id", "y", "a", "1", "a", "2"},
		"NUL and invalid UTF-8":  {"id", "x\x00\xff\xfe", "\xff", "\x00"},
		"empty":                  {"id", "x", "", ""},
		"names of our own":       {"id", "x", stream.DeadLetterID, "theirs"},
		"a large field":          {"id", "x", "big", strings.Repeat("b", 10<<20)},
		"more than a script can": manyFields(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := streamtest.StartRedis(t)
			client := server.Client()
			other := streamtest.StartRedis(t).Client()
			id := addFields(t, client, pairs...)
			for where, rec := range map[string]*recorder{
				"the same Redis": giveUp(stream.DeadLetterError{}),
				"another Redis":  giveUp(stream.DeadLetterError{Stream: "far", Client: other}),
			} {
				begun := time.Now().Add(-time.Second)
				store := &offset.Memory{}
				stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithLabel("me")))
				streamtest.Await(t, "the entry is passed", func() bool {
					saved, _, _ := store.Load(t.Context(), "me")
					return saved == id
				})
				if err := stop(); err != nil {
					t.Error(err)
				}
				var letters [][]string
				if where == "another Redis" {
					letters = deadLetters(t, other, "far")
				} else {
					letters = deadLetters(t, client, "{orders}:dead")
				}
				if len(letters) != 1 {
					t.Fatalf("%s: %d dead letters, want 1", where, len(letters))
				}
				original, added := letters[0][:len(letters[0])-12], letters[0][len(letters[0])-12:]
				if !slices.Equal(original, pairs) {
					t.Errorf("%s: the original fields are %.200q, want %.200q", where, original, pairs)
				}
				at, err := time.Parse(time.RFC3339Nano, added[11])
				if err != nil || at.Before(begun) || at.After(time.Now()) || at.Location() != time.UTC {
					t.Errorf("%s: given up at %q, %v", where, added[11], err)
				}
				want := []string{
					stream.DeadLetterOrigin, "orders", stream.DeadLetterID, id, stream.DeadLetterLabel, "me",
					stream.DeadLetterAttempts, "7", stream.DeadLetterCause, "of no use", stream.DeadLetterTime,
				}
				if !slices.Equal(added[:11], want) {
					t.Errorf("%s: our own fields are %q, want %q", where, added[:11], want)
				}
			}
		})
	}
}

// An entry that was trimmed away between its reading and its dead letter is
// written from what was read, and as that was.
func TestDeadLetterOfATrimmedEntry(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	pairs := []string{"z", "1", "id", "y", "a", "", "id", "x", "a", "2"}
	addFields(t, client, pairs...)
	rec := newRecorder()
	rec.handle = func(ctx context.Context, msg *stream.Message[order]) error {
		if err := client.XDel(ctx, msg.Stream, msg.ID).Err(); err != nil {
			return err
		}
		return &stream.DeadLetterError{Err: errors.New("no")}
	}
	start(t, newConsumer(t, client, &offset.Memory{}, rec.Handle))
	streamtest.Await(t, "it is in the dead letters", func() bool {
		return client.XLen(t.Context(), "{orders}:dead").Val() == 1
	})
	if letter := deadLetters(t, client, "{orders}:dead")[0]; !slices.Equal(letter[:len(letter)-12], pairs) {
		t.Errorf("the dead letter is %q", letter)
	}
}

// While the dead letter cannot be written the entry is held: its offset is not
// saved, what is behind it waits, and the handler is not called again for it.
func TestEntryIsHeldWhileItsDeadLetterFails(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	if err := client.Set(t.Context(), "{orders}:dead", "not a stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	first := add(t, client, "good")
	bad := add(t, client, "bad")
	add(t, client, "behind")
	var out logs
	store := &offset.Memory{}
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "bad" {
			return &stream.DeadLetterError{Err: errors.New("no")}
		}
		return nil
	}
	stop := start(t, newConsumer(t, client, store, rec.Handle, stream.WithLogger(out.Logger())))
	streamtest.Await(t, "the failed write is logged", func() bool { return len(out.lines("WARN", "dead letters failed", "WRONGTYPE")) > 0 })
	if seen := rec.Seen(); !slices.Equal(seen, []string{"good", "bad"}) {
		t.Errorf("delivered %v while the write fails", seen)
	}
	if err := stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if id, _, _ := store.Load(t.Context(), "orders"); id != first {
		t.Errorf("the offset is %q, want %q", id, first)
	}

	rec = giveUp(stream.DeadLetterError{})
	start(t, newConsumer(t, client, store, rec.Handle))
	rec.await(t, 1)
	if err := client.Del(t.Context(), "{orders}:dead").Err(); err != nil {
		t.Fatal(err)
	}
	streamtest.Await(t, "both are in the dead letters", func() bool { return client.XLen(t.Context(), "{orders}:dead").Val() == 2 })
	if letter := deadLetters(t, client, "{orders}:dead")[0]; !slices.Contains(letter, bad) {
		t.Errorf("the first dead letter is %q", letter)
	}
}

// A stop comes while an entry is found not to be decodable. The dead-letter middleware
// does nothing after a stop, and that must not pass the entry: the next run makes a
// dead letter of it.
func TestUndecodableEntryAtAStop(t *testing.T) {
	t.Parallel()
	for _, group := range []bool{false, true} {
		t.Run(fmt.Sprint("group ", group), func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t, "--appendonly", "no").Client()
			store := &offset.Memory{}
			run := func(ctx context.Context, then func()) error {
				middlewares := stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{}), func(next stream.EntryHandler) stream.EntryHandler {
					return func(ctx context.Context, entry *stream.Entry) error {
						err := next(ctx, entry)
						then()
						return err
					}
				})
				if group {
					return newGroup(t, client, newRecorder().Handle, middlewares).Run(ctx)
				}
				return newConsumer(t, client, store, newRecorder().Handle, middlewares).Run(ctx)
			}
			id := addFields(t, client, "id", "x", "amount", "many")
			ctx, cancel := context.WithCancel(t.Context())
			if err := run(ctx, cancel); err != nil {
				t.Fatal(err)
			}
			if saved, found, _ := store.Load(t.Context(), orders.Name); found || len(deadLetters(t, client, "{orders}:dead")) > 0 {
				t.Errorf("after the stop the offset is %q, and there are dead letters %v", saved, deadLetters(t, client, "{orders}:dead"))
			}
			ctx, cancel = context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- run(ctx, func() {}) }()
			streamtest.Await(t, "the entry is a dead letter", func() bool { return client.XLen(t.Context(), "{orders}:dead").Val() > 0 })
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			streamtest.AssertDeadLettered(t, client, "{orders}:dead", id)
		})
	}
}

func TestDeadLettersIntoTheTopicItselfAreRefused(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	add(t, client, "x")
	var out logs
	rec := giveUp(stream.DeadLetterError{Stream: "orders"})
	start(t, newConsumer(t, client, &offset.Memory{}, rec.Handle, stream.WithLogger(out.Logger())))
	streamtest.Await(t, "it is logged", func() bool { return len(out.lines("WARN", "the topic itself")) > 0 })
	if n := client.XLen(t.Context(), "orders").Val(); n != 1 {
		t.Errorf("the topic has %d entries", n)
	}
}

// A user without the right to run scripts still has dead letters.
func TestDeadLetterWithoutScripts(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--user", "default", "on", "nopass", "~*", "&*", "+@all", "-eval", "-evalsha")
	client := server.Client()
	pairs := []string{"id", "x", "id", "y"}
	addFields(t, client, pairs...)
	rec := giveUp(stream.DeadLetterError{})
	start(t, newConsumer(t, client, &offset.Memory{}, rec.Handle))
	streamtest.Await(t, "it is in the dead letters", func() bool { return client.XLen(t.Context(), "{orders}:dead").Val() == 1 })
	if letter := deadLetters(t, client, "{orders}:dead")[0]; !slices.Equal(letter[:4], pairs) {
		t.Errorf("the dead letter is %q", letter)
	}
}

func TestDeadLetterStreamSharesTheSlot(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--cluster-enabled", "yes")
	client := server.Client()
	for key, want := range map[string]string{
		"orders":        "{orders}:dead",
		"user:events":   "{user:events}:dead",
		"orders:{3}":    "orders:{3}:dead",
		"{a}b{c}":       "{a}b{c}:dead",
		"a{b":           "{a{b}:dead",
		"{}a":           "{}a:dead", // there is no name for these in the same slot
		"a}b":           "a}b:dead",
		"with space {}": "with space {}:dead",
	} {
		got := stream.DeadLetterStream(key)
		if got != want {
			t.Errorf("DeadLetterStream(%q) = %q, want %q", key, got, want)
		}
		same := client.ClusterKeySlot(t.Context(), key).Val() == client.ClusterKeySlot(t.Context(), got).Val()
		if same != !slices.Contains([]string{"{}a", "a}b", "with space {}"}, key) {
			t.Errorf("%q and %q: same slot is %v", key, got, same)
		}
	}
}

// A slot that moves refuses what needs two keys, of which one is not there yet.
func TestDeadLettersOutlastAMovingSlot(t *testing.T) {
	t.Parallel()
	server, other := streamtest.StartRedis(t, "--cluster-enabled", "yes"), streamtest.StartRedis(t, "--cluster-enabled", "yes")
	admin, target := server.Client(), other.Client()
	command(t, admin, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	host, port, _ := net.SplitHostPort(other.Addr)
	command(t, admin, "CLUSTER", "MEET", host, port)
	id := target.Do(t.Context(), "CLUSTER", "MYID").Val()
	eventually(t, "they have met", func() bool {
		return strings.Contains(admin.ClusterNodes(t.Context()).Val(), fmt.Sprint(id))
	})
	clusterUp(t, admin)
	slot := admin.ClusterKeySlot(t.Context(), orders.Name).Val()
	add(t, admin, "a")
	command(t, admin, "CLUSTER", "SETSLOT", slot, "MIGRATING", id)
	for _, mode := range bothModes() {
		var out logs
		consumer := mode.make(t, admin, orders.Name, giveUp(stream.DeadLetterError{Stream: "{orders}:" + mode.name}).Handle, stream.WithLogger(out.Logger()))
		stop := start(t, consumer)
		eventually(t, "it is refused", func() bool { return len(out.lines("writing to the dead letters", "TRYAGAIN")) > 0 })
		command(t, admin, "CLUSTER", "SETSLOT", slot, "STABLE")
		eventually(t, "the dead letter is there", func() bool { return consumer.Stats().DeadLettered == 1 })
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := len(deadLetters(t, admin, "{orders}:"+mode.name)); n != 1 {
			t.Errorf("%s mode: %d dead letters, want 1", mode.name, n)
		}
		command(t, admin, "CLUSTER", "SETSLOT", slot, "MIGRATING", id)
	}
	if ids := pending(t, admin); len(ids) != 0 {
		t.Errorf("pending: %v", ids)
	}
}

// A script that writes a dead letter and may not ack has written it nevertheless:
// it must not be run again and again.
func TestADeadLetterWithoutTheRightToAck(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--user", "app", "on", ">right", "~*", "&*", "+@all", "-xack")
	admin := server.Client()
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "app", Password: "right"})
	t.Cleanup(func() { _ = client.Close() })
	add(t, admin, "a")
	consumer := newGroup(t, client, giveUp(stream.DeadLetterError{}).Handle)
	stop := start(t, consumer)
	var at time.Time
	for range 5 {
		eventually(t, "it is refused", func() bool {
			stats := consumer.Stats()
			if !stats.LastErrorAt.After(at) || !strings.Contains(stats.LastError, "lacks a right") {
				return false
			}
			at = stats.LastErrorAt
			return true
		})
	}
	if n := len(deadLetters(t, admin, "{orders}:dead")); n != 2 {
		t.Errorf("%d dead letters, want the script's and one that was written without it", n)
	}
	command(t, admin, "ACL", "SETUSER", "app", "+xack")
	settled(t, admin)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if n := len(deadLetters(t, admin, "{orders}:dead")); n != 2 {
		t.Errorf("%d dead letters in the end, want no more", n)
	}
}
