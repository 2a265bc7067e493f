package sqltest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/streamsql"
	"millrace/stream/streamtest"
)

// enqueue writes the payments with the numbers from first up into the outbox.
func enqueue(t testing.TB, db *database, tx *sql.Tx, topic stream.Topic[payment], first, n int) {
	t.Helper()
	for i := first; i < first+n; i++ {
		if err := streamsql.Enqueue(t.Context(), tx, db.store, topic, payment{Number: i, Amount: amountOf(i)}, stream.WithHeader("traceparent", "t")); err != nil {
			t.Fatal(err)
		}
	}
}

func (db *database) enqueue(t testing.TB, topic stream.Topic[payment], first, n int) {
	t.Helper()
	tx := begin(t, db, sql.LevelDefault)
	enqueue(t, db, tx, topic, first, n)
	commit(t, tx)
}

// numbersIn returns the numbers of the payments in a stream.
func numbersIn(t testing.TB, client redis.UniversalClient, stream string) string {
	t.Helper()
	entries, err := client.XRange(t.Context(), stream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	var numbers []string
	for _, entry := range entries {
		numbers = append(numbers, fmt.Sprint(entry.Values["number"]))
	}
	return strings.Join(numbers, " ")
}

func fastRelay(t testing.TB, db *database, client redis.UniversalClient, opts ...streamsql.RunOption) *streamsql.Relay {
	t.Helper()
	return must(streamsql.NewRelay(db.store, client, append([]streamsql.RunOption{streamsql.WithInterval(5 * time.Millisecond)}, opts...)...))(t)
}

func (db *database) awaitEmptyOutbox(t testing.TB) {
	t.Helper()
	streamtest.Await(t, "the outbox is empty", func() bool { return db.number(t, "SELECT count(*) FROM millrace_outbox") == 0 })
}

// What was committed is published, in order, and nothing else. A transaction that was open while a
// later one was published is not left out.
func TestRelay(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		client := streamtest.StartRedis(t).Client()
		tx := begin(t, db, sql.LevelDefault)
		enqueue(t, db, tx, payments, 900, 3)
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		db.enqueue(t, payments, 0, 450)
		want := ""
		for i := range 450 {
			want += fmt.Sprint(i, " ")
		}
		if db.store.Dialect() != sqlstore.SQLite { // which has one writer at a time
			tx = begin(t, db, sql.LevelDefault)
			enqueue(t, db, tx, payments, 501, 1)
			db.enqueue(t, payments, 500, 1)
			want += "500 "
		}
		stop := run(t, fastRelay(t, db, client))
		streamtest.Await(t, "the committed rows are published", func() bool { return numbersIn(t, client, payments.Name)+" " == want })
		if db.store.Dialect() != sqlstore.SQLite {
			commit(t, tx)
			want += "501 "
		}
		db.awaitEmptyOutbox(t)
		stop()
		if got := numbersIn(t, client, payments.Name) + " "; got != want {
			t.Errorf("the stream has %s; want %s", got, want)
		}
		if left := client.Exists(t.Context(), streamsql.OutboxKey(payments.Name)).Val(); left != 0 {
			t.Error("a relay that has stopped has left gates")
		}
		entry := client.XRangeN(t.Context(), payments.Name, "-", "+", 1).Val()[0]
		if want := map[string]any{"number": "0", "amount": "1", "traceparent": "t"}; fmt.Sprint(entry.Values) != fmt.Sprint(want) {
			t.Errorf("the first entry has %v; want %v", entry.Values, want)
		}
	})
}

// A relay was killed when it had published a row, and before it has deleted it; and another time
// when it had deleted the row, and not the gate.
func TestRelayAfterAKill(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		client := streamtest.StartRedis(t).Client()
		ctx, gates := t.Context(), streamsql.OutboxKey(payments.Name)
		db.enqueue(t, payments, 0, 2)
		var id, token string
		if err := db.QueryRow("SELECT id, token FROM millrace_outbox ORDER BY id LIMIT 1").Scan(&id, &token); err != nil {
			t.Fatal(err)
		}
		client.XAdd(ctx, &redis.XAddArgs{Stream: payments.Name, Values: []string{"number", "0"}})
		client.HSet(ctx, gates, "owner", "killed", "at", 0, token, id, "0123456789abcdef", id)
		run(t, fastRelay(t, db, client))
		db.awaitEmptyOutbox(t)
		if got := numbersIn(t, client, payments.Name); got != "0 1" {
			t.Errorf("the stream has the payments %s; want 0 1", got)
		}
		if client.HExists(ctx, gates, "0123456789abcdef").Val() {
			t.Error("a gate without a row has stayed")
		}
	})
}

// Each topic has its own trouble, and others go on.
func TestRelayInTrouble(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, sqlstore.SQLite)
	client := streamtest.StartRedis(t, "--proto-max-bulk-len", "1mb").Client()
	ctx := t.Context()
	if err := client.Set(ctx, "text", "", 0).Err(); err != nil {
		t.Fatal(err)
	}
	// This one has room for two more entries.
	if err := client.XAdd(ctx, &redis.XAddArgs{Stream: "full", ID: "18446744073709551615-18446744073709551613", Values: []string{"number", "9"}}).Err(); err != nil {
		t.Fatal(err)
	}
	text, full := stream.Topic[payment]{Name: "text"}, stream.Topic[payment]{Name: "full"}
	large, corrupt := stream.Topic[payment]{Name: "large"}, stream.Topic[payment]{Name: "corrupt"}
	for _, topic := range []stream.Topic[payment]{text, full, large, corrupt, payments} {
		db.enqueue(t, topic, 0, 2)
	}
	tx := begin(t, db, sql.LevelDefault)
	if err := streamsql.Enqueue(ctx, tx, db.store, large, payment{Number: 2, Amount: 1}, stream.WithHeader("h", strings.Repeat("x", 2<<20))); err != nil {
		t.Fatal(err)
	}
	commit(t, tx)
	for _, topic := range []stream.Topic[payment]{text, full, large, corrupt, payments} {
		db.enqueue(t, topic, 3, 2)
	}
	db.exec(t, "UPDATE millrace_outbox SET pairs = 'xx' WHERE topic = 'corrupt' AND id = (SELECT max(id) FROM millrace_outbox WHERE topic = 'corrupt')")
	log := &lines{}
	run(t, fastRelay(t, db, client, log.logger()))
	last := func(topic string, want string) {
		t.Helper()
		streamtest.Await(t, topic+" has the payments "+want, func() bool { return numbersIn(t, client, topic) == want })
	}
	last(payments.Name, "0 1 3 4")
	last("large", "0 1")
	last("corrupt", "0 1 3")
	last("full", "9 0 1")
	streamtest.Await(t, "the rows that are published are deleted", func() bool {
		return db.number(t, "SELECT count(*) FROM millrace_outbox WHERE topic = 'full'") == 2
	})
	for _, want := range []string{"another type", "is the first of its topic", "column pairs has another form"} {
		streamtest.Await(t, "the log tells of: "+want, func() bool { return log.has(want) })
	}
	number := db.number(t, "SELECT min(id) FROM millrace_outbox WHERE topic = 'large'")
	streamtest.Await(t, "the log has the number of the row", func() bool { return log.has(fmt.Sprintf("row %d of table millrace_outbox", number)) })
	client.Del(ctx, "text", "full")
	db.exec(t, "DELETE FROM millrace_outbox WHERE id = ?", number)
	db.exec(t, "DELETE FROM millrace_outbox WHERE pairs = 'xx'")
	last("text", "0 1 3 4")
	last("full", "3 4")
	last("large", "0 1 3 4")
	db.awaitEmptyOutbox(t)
}

func TestEnqueueRefusesMistakes(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, sqlstore.SQLite)
	tx := begin(t, db, sql.LevelDefault)
	good := payment{Amount: 1}
	var many []stream.PublishOption
	for i := range 4000 {
		many = append(many, stream.WithHeader(fmt.Sprint("h", i), ""))
	}
	for name, err := range map[string]error{
		"a value that is not valid": streamsql.Enqueue(t.Context(), tx, db.store, payments, payment{}),
		"a blank topic":             streamsql.Enqueue(t.Context(), tx, db.store, stream.Topic[payment]{Name: " "}, good),
		"a topic with NUL":          streamsql.Enqueue(t.Context(), tx, db.store, stream.Topic[payment]{Name: "a\x00"}, good),
		"a header of the value":     streamsql.Enqueue(t.Context(), tx, db.store, payments, good, stream.WithHeader("amount", "2")),
		"too many texts":            streamsql.Enqueue(t.Context(), tx, db.store, payments, good, many...),
	} {
		var encoding *stream.EncodeError
		if !errors.As(err, &encoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := streamsql.Enqueue(t.Context(), nil, db.store, payments, good); err == nil {
		t.Error("no transaction was taken for one")
	}
	if err := streamsql.Enqueue(context.Background(), tx, db.store, payments, good); err != nil {
		t.Errorf("the transaction cannot be used any more: %v", err)
	}
	_, err := streamsql.NewRelay(nil, nil, streamsql.WithInterval(-1))
	for _, want := range []string{"store is nil", "client is", "WithInterval(-1ns)"} {
		if !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("NewRelay = %v; want a text with %q", err, want)
		}
	}
}

// Two relays, killed and frozen, with Redis and the database killed, publish each row once, and in
// order.
func TestKillsOfRelays(t *testing.T) {
	t.Parallel()
	if consumeUntilKilled(t) {
		return
	}
	server, db := ownPostgres(t)
	redisServer := streamtest.StartRedis(t)
	client := redisServer.Client()
	for first := 0; first < *many; first += 50 {
		db.enqueue(t, payments, first, min(50, *many-first))
	}
	upset(t, redisServer, relay, 2, db, server, func() int { return int(client.XLen(t.Context(), payments.Name).Val()) })
	stop := run(t, fastRelay(t, db, client))
	db.awaitEmptyOutbox(t)
	stop()
	var want []string
	for i := range *many {
		want = append(want, fmt.Sprint(i))
	}
	if got := numbersIn(t, client, payments.Name); got != strings.Join(want, " ") {
		t.Errorf("the stream has other payments than each one once, and in order: %s", got)
	}
}
