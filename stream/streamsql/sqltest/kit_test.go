package sqltest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/streamsql"
	"millrace/stream/streamtest"
)

type payment struct {
	Number int `mapstructure:"number"`
	Amount int `mapstructure:"amount" validate:"gt=0"`
}

var payments = stream.Topic[payment]{Name: "payments"}

// sumOf returns the amounts of n payments together.
func sumOf(n int) (sum int) {
	for i := range n {
		sum += amountOf(i)
	}
	return sum
}

func amountOf(number int) int { return number%97 + 1 }

// publish adds n payments, with the numbers from 0 up, and returns the ID of the last.
func publish(t testing.TB, client redis.UniversalClient, n int) string {
	t.Helper()
	producer, err := stream.NewProducer(client, payments)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]payment, n)
	for i := range values {
		values[i] = payment{Number: i, Amount: amountOf(i)}
	}
	results, err := producer.PublishAll(t.Context(), values)
	if err != nil {
		t.Fatal(err)
	}
	return results[n-1].ID
}

// makeLedger makes the tables of the handlers. A ledger has no key, so that it shows what is there
// twice.
func (db *database) makeLedger(t testing.TB) {
	t.Helper()
	db.exec(t, "CREATE TABLE ledger (number INTEGER NOT NULL, amount INTEGER NOT NULL)")
	db.exec(t, "CREATE TABLE account (balance INTEGER NOT NULL)")
	db.exec(t, "INSERT INTO account (balance) VALUES (0)")
}

// execer is a *sql.DB or a *sql.Tx.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// pay writes a payment into the ledger, and its amount to the account.
func (db *database) pay(ctx context.Context, tx execer, p payment) error {
	_, err := tx.ExecContext(ctx, db.bind("INSERT INTO ledger (number, amount) VALUES (?, ?)"), p.Number, p.Amount)
	if err == nil {
		_, err = tx.ExecContext(ctx, db.bind("UPDATE account SET balance = balance + ?"), p.Amount)
	}
	return err
}

// payOne and payEach are handlers of Once and OnceEach.
func (db *database) payOne(ctx context.Context, tx *sql.Tx, msg *stream.Message[payment]) error {
	return db.pay(ctx, tx, msg.Value)
}

func (db *database) payEach(ctx context.Context, tx *sql.Tx, batch []*stream.Message[payment]) error {
	for _, msg := range batch {
		if err := db.pay(ctx, tx, msg.Value); err != nil {
			return err
		}
	}
	return nil
}

// problem says in which way the ledger is not that of the payments from 0 to n-1, once each. It is
// empty if it is.
func (db *database) problem(t testing.TB, n int) string {
	t.Helper()
	rows := db.number(t, "SELECT count(*) FROM ledger")
	distinct := db.number(t, "SELECT count(DISTINCT number) FROM ledger")
	balance := db.number(t, "SELECT balance FROM account")
	if rows != n || distinct != n || balance != sumOf(n) {
		return fmt.Sprintf("the ledger has %d rows of %d payments and the account %d; want %d, %d and %d", rows, distinct, balance, n, n, sumOf(n))
	}
	return ""
}

func (db *database) check(t testing.TB, n int) {
	t.Helper()
	if problem := db.problem(t, n); problem != "" {
		t.Error(problem)
	}
}

var quiet = stream.WithLogger(slog.New(slog.DiscardHandler))

// run runs a consumer or a compactor; the function that it returns stops it.
func run(t testing.TB, one stream.Runnable) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- one.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("Run does not return")
		}
	})
	t.Cleanup(stop)
	return stop
}

// must returns what a constructor has returned.
func must[T any](one T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return one
	}
}

// counting counts how the entries of consumers have ended.
type counting struct{ handled, skipped, failed atomic.Int64 }

func (c *counting) OnEnd(end stream.DeliveryEnded) {
	switch end.Outcome {
	case stream.OutcomeHandled:
		c.handled.Add(1)
	case stream.OutcomeSkipped:
		c.skipped.Add(1)
	default:
		c.failed.Add(1)
	}
}

func (c *counting) ended() int { return int(c.handled.Load() + c.skipped.Load()) }

// awaitEnded waits until so many entries were handled or skipped.
func (c *counting) awaitEnded(t testing.TB, n int) {
	t.Helper()
	streamtest.Await(t, fmt.Sprintf("%d entries end", n), func() bool { return c.ended() >= n })
}

// compact runs a compactor until the inbox is empty, and the position is the last entry.
func (db *database) compact(t testing.TB, client redis.UniversalClient, group, last string) {
	t.Helper()
	defer run(t, must(streamsql.NewCompactor(db.store, client, payments.Name, group, streamsql.WithInterval(50*time.Millisecond)))(t))()
	streamtest.Await(t, "the inbox is empty, and the position the last entry", func() bool {
		at, _, err := db.store.Load(t.Context(), streamsql.Label(stream.Identity{Stream: payments.Name, Group: group}))
		return err == nil && at == last && db.number(t, "SELECT count(*) FROM millrace_inbox") == 0
	})
}

// losing returns a database of which every nth COMMIT is done, and its reply lost.
func (db *database) losing(t testing.TB, nth int64) *database {
	t.Helper()
	connector := &losingConnector{driver: db.Driver(), dsn: db.dsn, nth: nth}
	lossy := sql.OpenDB(connector)
	t.Cleanup(func() { _ = lossy.Close() })
	return &database{DB: lossy, store: must(sqlstore.New(lossy, db.store.Dialect()))(t), driver: db.driver, dsn: db.dsn}
}

type losingConnector struct {
	driver  driver.Driver
	dsn     string
	nth     int64
	commits atomic.Int64
}

func (c *losingConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	return &losingConn{conn, c}, err
}

func (c *losingConnector) Driver() driver.Driver { return c.driver }

// losingConn has none of the optional methods of a connection but BeginTx: statements are prepared.
type losingConn struct {
	driver.Conn
	of *losingConnector
}

func (c *losingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	return &losingTx{tx, c.of}, err
}

type losingTx struct {
	driver.Tx
	of *losingConnector
}

var errLost = errors.New("the connection was lost")

func (tx *losingTx) Commit() error {
	err := tx.Tx.Commit()
	if err == nil && tx.of.commits.Add(1)%tx.of.nth == 0 {
		return errLost
	}
	return err
}
