package sqltest_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/streamsql"
	"millrace/stream/streamtest"
)

var many = flag.Int("payments", 1200, "how many payments the tests with kills handle")

// The environment of a process that a test has started, which consumes until it is killed.
const (
	childRedis  = "SQLTEST_REDIS"
	childKind   = "SQLTEST_KIND"
	childDriver = "SQLTEST_DRIVER"
	childDSN    = "SQLTEST_DSN"
)

// careless is the control: a handler with a transaction of its own.
const careless = "careless"

// relay is a process that publishes the rows of an outbox.
const relay = "relay"

const killedGroup = "bank"

// killedConsumer makes the consumer of a process that will be killed.
func killedConsumer(t testing.TB, kind string, client redis.UniversalClient, db *database) stream.Runnable {
	t.Helper()
	opts := []stream.Option{stream.WithBackoff(stream.Backoff{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond})}
	if strings.HasPrefix(kind, "group") {
		opts = append(opts, stream.WithClaimIdle(time.Second))
	}
	if kind != careless {
		return consumerKinds[kind](t, client, killedGroup, db, opts...)
	}
	handle := func(ctx context.Context, msg *stream.Message[payment]) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := db.payOne(ctx, tx, msg); err != nil {
			_ = tx.Rollback()
			return err
		}
		return tx.Commit()
	}
	return must(stream.NewConsumer(client, payments, db.store, handle, append(opts, stream.WithLabel(killedGroup), quiet)...))(t)
}

// consumeUntilKilled is the work of such a process. It reports whether this is one.
func consumeUntilKilled(t *testing.T) bool {
	t.Helper()
	kind := os.Getenv(childKind)
	if kind == "" {
		return false
	}
	client := redis.NewClient(&redis.Options{Addr: os.Getenv(childRedis)})
	dialect := sqlstore.Postgres
	if os.Getenv(childDriver) == "sqlite" {
		dialect = sqlstore.SQLite
	}
	db := open(t, os.Getenv(childDriver), os.Getenv(childDSN))
	child := &database{DB: db, store: must(sqlstore.New(db, dialect))(t)}
	var r stream.Runner
	if kind == relay {
		r.Add(must(streamsql.NewRelay(child.store, client, streamsql.WithInterval(10*time.Millisecond)))(t))
	} else {
		r.Add(killedConsumer(t, kind, client, child))
	}
	if strings.HasPrefix(kind, "group") {
		r.Add(must(streamsql.NewCompactor(child.store, client, payments.Name, killedGroup, streamsql.WithInterval(time.Second)))(t))
	}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return true
}

// sufferKills publishes payments, and has processes consume them, which are killed or frozen again
// and again, together with Redis and the database, until all payments are in the ledger. Everything
// that is done follows the progress.
func sufferKills(t *testing.T, kind string, processes int, db *database, server *server) (redisServer *streamtest.Redis, last string) {
	t.Helper()
	redisServer = streamtest.StartRedis(t)
	last = publish(t, redisServer.Client(), *many)
	upset(t, redisServer, kind, processes, db, server, func() (n int) {
		if db.QueryRow("SELECT count(DISTINCT number) FROM ledger").Scan(&n) != nil {
			return 0
		}
		return n
	})
	return redisServer, last
}

// upset kills and freezes processes of a kind and both servers, until all payments are done.
func upset(t *testing.T, redisServer *streamtest.Redis, kind string, processes int, db *database, server *server, progress func() int) {
	t.Helper()
	children := make([]*streamtest.Child, processes)
	start := func(i int) {
		children[i] = streamtest.StartChild(t, childRedis+"="+redisServer.Addr, childKind+"="+kind, childDriver+"="+db.driver, childDSN+"="+db.dsn)
	}
	for i := range children {
		start(i)
	}
	const upsets = 10
	var zombie *streamtest.Child
	for upset := range upsets {
		from := *many * upset / (upsets + 1)
		awaitLong(t, fmt.Sprintf("%d payments are done", from), func() bool { return progress() >= from })
		if zombie != nil {
			zombie.Thaw() // and goes on beside the one that was started in its place
			zombie = nil
		}
		victim := upset % processes
		switch kind := upset % 5; {
		case kind == 1:
			redisServer.Kill()
			redisServer.Start()
		case kind == 3 && server != nil:
			server.kill()
			server.start(t)
		case kind == 4 && server != nil:
			zombie = children[victim]
			zombie.Freeze()
			start(victim)
		default:
			children[victim].Kill()
			start(victim)
		}
	}
	awaitLong(t, "all payments are done", func() bool { return progress() >= *many })
	for _, child := range children {
		child.Kill()
	}
}

// awaitLong is streamtest.Await for a condition that may take longer on a busy machine.
func awaitLong(t testing.TB, text string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 3 minutes: %s", text)
		}
	}
}

func ownPostgres(t *testing.T) (*server, *database) {
	t.Helper()
	// A process that is frozen in the middle of a transaction would hold up the others for ever.
	s := newPostgres(t, "-c", "idle_in_transaction_session_timeout=1s")
	t.Cleanup(func() { s.kill(); _ = os.RemoveAll(s.folder) })
	s.start(t)
	db := s.newDatabase(t)
	db.makeLedger(t)
	return s, db
}

func TestKillsInLogMode(t *testing.T) {
	t.Parallel()
	if consumeUntilKilled(t) {
		return
	}
	server, db := ownPostgres(t)
	_, last := sufferKills(t, "log", 1, db, server)
	db.check(t, *many)
	if at, _, err := db.store.Load(t.Context(), killedGroup); at != last || err != nil {
		t.Errorf("the position is %s, %v; want %s", at, err, last)
	}
}

func TestKillsInAGroup(t *testing.T) {
	t.Parallel()
	if consumeUntilKilled(t) {
		return
	}
	server, db := ownPostgres(t)
	redisServer, last := sufferKills(t, "group batch", 3, db, server)
	db.check(t, *many)
	// A consumer of its own settles the rest.
	client := redisServer.Client()
	stop := run(t, killedConsumer(t, "group batch", client, db))
	streamtest.Await(t, "nothing is pending", func() bool {
		pending, err := client.XPending(t.Context(), payments.Name, killedGroup).Result()
		return err == nil && pending.Count == 0
	})
	stop()
	db.compact(t, client, killedGroup, last)
	db.check(t, *many)
}

// The control: a handler without Once leaves payments in the ledger twice, and the check finds them.
func TestKillsWithoutOnce(t *testing.T) {
	t.Parallel()
	if consumeUntilKilled(t) {
		return
	}
	db := newDatabase(t, sqlstore.SQLite)
	db.makeLedger(t)
	sufferKills(t, careless, 1, db, nil)
	if db.problem(t, *many) == "" {
		t.Error("a careless handler was not found out: the check shows nothing")
	}
}
