package admin_test

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/middleware"
	"millrace/stream"
	"millrace/stream/admin"
	"millrace/stream/streamtest"
)

// The topic of these tests, and its letters.
const (
	orders = "orders"
	dead   = "{orders}:dead"
)

var by = admin.By("ada", "the partner is back")

func newAdmin(t testing.TB, client redis.UniversalClient, opts ...admin.Option) *admin.Admin {
	t.Helper()
	a, err := admin.New(client, append([]admin.Option{admin.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// letter is a dead letter as a consumer writes it.
type letter struct {
	pairs []string // the entry's
	group string   // billing if it is empty, and label is too
	label string
	cause string
	from  string // the topic
	entry string // its ID
}

// words returns the names and values of the letter.
func (l letter) words() []string {
	kind, name := stream.DeadLetterGroup, l.group
	switch {
	case l.label != "":
		kind, name = stream.DeadLetterLabel, l.label
	case name == "":
		name = "billing"
	}
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	return append(slices.Clone(l.pairs),
		stream.DeadLetterOrigin, or(l.from, orders), stream.DeadLetterID, or(l.entry, "1700000000000-7"), kind, name,
		stream.DeadLetterAttempts, "5", stream.DeadLetterCause, or(l.cause, "handler: connection refused"),
		stream.DeadLetterTime, time.Now().UTC().Format(time.RFC3339Nano))
}

// add writes entries, and returns their IDs.
func add(t testing.TB, client redis.UniversalClient, key string, entries ...[]string) (ids []string) {
	t.Helper()
	cmds, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for _, pairs := range entries {
			p.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: pairs})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range cmds {
		ids = append(ids, cmd.(*redis.StringCmd).Val())
	}
	return ids
}

// bury writes letters, and returns their IDs.
func bury(t testing.TB, client redis.UniversalClient, letters ...letter) (ids []string) {
	t.Helper()
	var entries [][]string
	for _, l := range letters {
		entries = append(entries, l.words())
	}
	return add(t, client, dead, entries...)
}

// buryMany writes n letters, with the fields n (its number, from 0) and amount.
func buryMany(t testing.TB, client redis.UniversalClient, n int) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		var some []letter
		for i := from; i < min(n, from+1000); i++ {
			some = append(some, letter{pairs: []string{"n", strconv.Itoa(i), "amount", "3"}, entry: fmt.Sprintf("1700000000000-%d", i+1)})
		}
		bury(t, client, some...)
	}
}

// pairsOf returns all entries of a stream, each as its pairs in their order.
func pairsOf(t testing.TB, client redis.UniversalClient, key string) (list [][]string) {
	t.Helper()
	for from := "-"; ; {
		reply, err := client.Do(t.Context(), "xrange", key, from, "+", "count", 1000).Slice()
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range reply {
			entry := one.([]any)
			var pairs []string
			for _, text := range entry[1].([]any) {
				pairs = append(pairs, text.(string))
			}
			list = append(list, pairs)
			from = "(" + entry[0].(string)
		}
		if len(reply) < 1000 {
			return list
		}
	}
}

// wantEachOnce checks that the stream has exactly the entries of buryMany, each once.
func wantEachOnce(t testing.TB, client redis.UniversalClient, key string, n int) {
	t.Helper()
	times := make(map[string]int)
	for _, pairs := range pairsOf(t, client, key) {
		times[pairs[1]]++
	}
	lost, twice := 0, 0
	for i := range n {
		switch times[strconv.Itoa(i)] {
		case 0:
			lost++
		case 1:
		default:
			twice++
		}
	}
	if lost > 0 || twice > 0 || len(times) > n {
		t.Errorf("%s: %d of %d lost, %d there more than once, %d distinct", key, lost, n, twice, len(times))
	}
}

func planned(t testing.TB, a *admin.Admin, cfg admin.RedriveConfig) *admin.Plan[admin.Redriven] {
	t.Helper()
	p, err := a.Redrive(t.Context(), orders, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// redrive plans and does it.
func redrive(t testing.TB, a *admin.Admin, cfg admin.RedriveConfig, opts ...admin.DoOption) admin.Redriven {
	t.Helper()
	done, err := planned(t, a, cfg).Do(t.Context(), append([]admin.DoOption{by}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func want[V any](t testing.TB, what string, got, want V) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

func length(t testing.TB, client redis.UniversalClient, key string) int64 {
	t.Helper()
	n, err := client.XLen(context.WithoutCancel(t.Context()), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func startRedis(t testing.TB) (*streamtest.Redis, *redis.Client) {
	t.Helper()
	server := streamtest.StartRedis(t, "--appendfsync", "no")
	return server, server.Client()
}

// nowhere is a client of no server.
func nowhere(t testing.TB) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// order is the type of the topic.
type order struct {
	N      int `mapstructure:"n"`
	Amount int `mapstructure:"amount"`
}

// newConsumer returns a consumer in group mode that gives entries up at once.
func newConsumer(t testing.TB, client redis.UniversalClient, group string, handle func(*stream.Message[order]) error) *stream.Consumer[order] {
	t.Helper()
	consumer, err := stream.NewGroupConsumer(client, stream.Topic[order]{Name: orders}, group,
		func(_ context.Context, msg *stream.Message[order]) error { return handle(msg) },
		stream.WithLogger(slog.New(slog.DiscardHandler)),
		stream.WithStart(stream.FromBeginning()),
		stream.WithMiddleware(middleware.DeadLetter(middleware.DeadLetterConfig{If: func(error) bool { return true }})))
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// commandTime returns how often the server has run a command, and the microseconds that took.
func commandTime(t testing.TB, client *redis.Client, command string) (calls, usec int) {
	t.Helper()
	for line := range strings.Lines(client.Info(t.Context(), "commandstats").Val()) {
		if rest, is := strings.CutPrefix(line, "cmdstat_"+command+":"); is {
			if _, err := fmt.Sscanf(rest, "calls=%d,usec=%d", &calls, &usec); err != nil {
				t.Fatal(err)
			}
		}
	}
	return calls, usec
}
