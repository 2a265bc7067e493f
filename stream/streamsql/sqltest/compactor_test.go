package sqltest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/streamsql"
	"millrace/stream/streamtest"
)

var evals = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)

// looks returns how often a script was called on the server.
func looks(t testing.TB, client redis.UniversalClient) int {
	t.Helper()
	found := evals.FindStringSubmatch(client.Info(t.Context(), "commandstats").Val())
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

func awaitLooks(t testing.TB, client redis.UniversalClient, more int) {
	t.Helper()
	from := looks(t, client)
	streamtest.Await(t, "the compactor looks again", func() bool { return looks(t, client) >= from+more })
}

// An entry that is pending is not passed, and neither is one whose consumer was removed, which has it
// at work and makes it pending again.
func TestCompactorWaitsForEntriesAtWork(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	publish(t, client, 5)
	if err := client.XGroupCreate(ctx, payments.Name, "bank", "0").Err(); err != nil {
		t.Fatal(err)
	}
	read, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "bank", Consumer: "one", Streams: []string{payments.Name, ">"}}).Result()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, entry := range read[0].Messages {
		ids = append(ids, entry.ID)
	}
	if err := client.XAck(ctx, payments.Name, "bank", ids[0], ids[1], ids[3], ids[4]).Err(); err != nil {
		t.Fatal(err)
	}
	db := newDatabase(t, sqlstore.SQLite)
	label := streamsql.Label(stream.Identity{Stream: payments.Name, Group: "bank"})
	position := func() offset.ID {
		text, found, err := db.store.Load(ctx, label)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			return offset.ID{}
		}
		at, _ := offset.Parse(text)
		return at
	}
	third, _ := offset.Parse(ids[2])
	second, _ := offset.Parse(ids[1])
	run(t, must(streamsql.NewCompactor(db.store, client, payments.Name, "bank", streamsql.WithInterval(time.Second)))(t))
	streamtest.Await(t, "the position comes to the pending entry", func() bool { return position().Compare(second) >= 0 })

	if err := client.XGroupDelConsumer(ctx, payments.Name, "bank", "one").Err(); err != nil {
		t.Fatal(err)
	}
	awaitLooks(t, client, 1)
	// As a consumer does that has the entry in its window.
	if err := client.Do(ctx, "XCLAIM", payments.Name, "bank", "one", 0, ids[2], "FORCE", "JUSTID").Err(); err != nil {
		t.Fatal(err)
	}
	awaitLooks(t, client, 2)
	if at := position(); at.Compare(third) >= 0 {
		t.Errorf("the position is %v, and %v is at work", at, third)
	}
	// Put off, it is acked, and comes back.
	due := stream.RetryDueKey(payments.Name, "bank")
	if _, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, due, redis.Z{Score: 1, Member: ids[3]}, redis.Z{Score: 2, Member: ids[2]})
		p.XAck(ctx, payments.Name, "bank", ids[2])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	awaitLooks(t, client, 2)
	if at := position(); at.Compare(third) >= 0 {
		t.Errorf("the position is %v, and %v is put off", at, third)
	}
	many := make([]redis.Z, 1001)
	for i := range many {
		many[i] = redis.Z{Score: float64(i), Member: fmt.Sprint("9999999999999-", i)}
	}
	if err := client.ZRem(ctx, due, ids[2], ids[3]).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.ZAdd(ctx, due, many...).Err(); err != nil {
		t.Fatal(err)
	}
	awaitLooks(t, client, 2)
	if at := position(); at.Compare(third) >= 0 {
		t.Errorf("the position is %v, and more are put off than are looked through", at)
	}
	if err := client.Del(ctx, due).Err(); err != nil {
		t.Fatal(err)
	}
	last, _ := offset.Parse(ids[4])
	streamtest.Await(t, "the position comes to the end", func() bool { return position() == last })
}

// lines is a log that can be looked at.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), text)
}

func (l *lines) slog() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) logger() streamsql.RunOption { return streamsql.WithLogger(l.slog()) }

func TestCompactorTellsOfAPositionAhead(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	ctx := t.Context()
	publish(t, client, 1)
	if err := client.XGroupCreate(ctx, payments.Name, "bank", "$").Err(); err != nil {
		t.Fatal(err)
	}
	db := newDatabase(t, sqlstore.SQLite)
	if _, err := db.store.Compact(ctx, streamsql.Label(stream.Identity{Stream: payments.Name, Group: "bank"}), "9999999999999-0"); err != nil {
		t.Fatal(err)
	}
	log := &lines{}
	run(t, must(streamsql.NewCompactor(db.store, client, payments.Name, "bank", streamsql.WithInterval(20*time.Millisecond), log.logger()))(t))
	streamtest.Await(t, "the log tells of the position", func() bool { return log.has("ahead of the stream") && log.has("9999999999999-0") })
}

// Trouble that no waiting can mend ends Run, and a group that is not there yet is none.
func TestCompactorInTrouble(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := server.Client()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db := newDatabase(t, sqlstore.SQLite)
	if err := client.Set(ctx, "text", "", 0).Err(); err != nil {
		t.Fatal(err)
	}
	err := must(streamsql.NewCompactor(db.store, client, "text", "bank"))(t).Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "another type") {
		t.Errorf("of a key that is no stream: %v", err)
	}

	log := &lines{}
	done := make(chan error, 1)
	go func() {
		done <- must(streamsql.NewCompactor(db.store, client, payments.Name, "bank", streamsql.WithInterval(20*time.Millisecond), log.logger()))(t).Run(ctx)
	}()
	awaitLooks(t, client, 3)
	server.Kill()
	streamtest.Await(t, "the log tells of the outage", func() bool { return log.has("failed; trying again") })
	server.Start()
	streamtest.Await(t, "the log tells of its end", func() bool { return log.has("works again") })
	label := streamsql.Label(stream.Identity{Stream: payments.Name, Group: "bank"})
	db.exec(t, "INSERT INTO millrace_position (label, id) VALUES (?, 'none')", label)
	publish(t, client, 1)
	if err := client.XGroupCreate(ctx, payments.Name, "bank", "$").Err(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, offset.ErrCorrupt) {
		t.Errorf("of a position that is no ID: %v", err)
	}
}
