package sqltest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/offset"
	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/streamsql"
	"millrace/stream/streamtest"
)

// Whatever has happened to the offsets, a consumer that begins anew handles nothing again.
func TestOnceInOrder(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	const n = 40
	last := publish(t, client, n)
	onEach(t, func(t *testing.T, db *database) {
		db.makeLedger(t)
		handle := streamsql.Once(db.store, db.payOne)
		for round, store := range []offset.Store{db.store, &offset.Memory{}, db.store} {
			seen := &counting{}
			consumer := must(stream.NewConsumer(client, payments, store, handle, stream.WithLabel("bank"), quiet, stream.WithObserver(seen)))(t)
			stop := run(t, consumer)
			if round < 2 {
				seen.awaitEnded(t, n)
			}
			stop()
			if want := int64(n) * int64(1-min(round, 1)); seen.handled.Load() != want {
				t.Errorf("run %d has handled %d entries; want %d", round+1, seen.handled.Load(), want)
			}
		}
		db.check(t, n)
		if at, _, err := db.store.Load(t.Context(), "bank"); at != last || err != nil {
			t.Errorf("the position is %s, %v; want %s", at, err, last)
		}
		if rows := db.number(t, "SELECT count(*) FROM millrace_inbox"); rows != 0 {
			t.Errorf("the inbox has %d rows, and is not needed", rows)
		}
	})
}

// Two consumers with one label, which is a mistake, handle nothing twice.
func TestOnceWithTwoConsumersOfALabel(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	const n = 60
	publish(t, client, n)
	onEach(t, func(t *testing.T, db *database) {
		for _, kind := range []string{"log", "log concurrent", "log batch"} {
			db.exec(t, "DROP TABLE IF EXISTS ledger")
			db.exec(t, "DROP TABLE IF EXISTS account")
			db.makeLedger(t)
			seen := &counting{}
			var stops []func()
			for range 2 {
				stops = append(stops, run(t, consumerKinds[kind](t, client, kind, db, stream.WithObserver(seen))))
			}
			seen.awaitEnded(t, n) // by one of them, or by both together
			streamtest.Await(t, "all payments are in the ledger", func() bool { return db.number(t, "SELECT count(*) FROM ledger") >= n })
			for _, stop := range stops {
				stop()
			}
			db.check(t, n)
		}
	})
}

// The database may be down when a consumer starts, and while it runs.
func TestOnceWithoutADatabase(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	const n = 20
	publish(t, client, n)
	server, db := ownPostgres(t)
	server.kill()
	seen := &counting{}
	for _, kind := range []string{"log", "group batch"} {
		log := &lines{}
		run(t, consumerKinds[kind](t, client, "bank", db, stream.WithLogger(log.slog()), stream.WithObserver(seen)))
		streamtest.Await(t, "the log tells of the database", func() bool { return log.has("failed") })
	}
	server.start(t)
	seen.awaitEnded(t, 2*n)
	publish(t, client, n)
	server.kill()
	server.start(t)
	seen.awaitEnded(t, 4*n)
	if rows := db.number(t, "SELECT count(*) FROM ledger"); rows != 4*n {
		t.Errorf("the ledger has %d rows; want %d", rows, 4*n)
	}
}

// The inbox knows the entries of a group that is read again from the beginning, and the position
// knows them once a compactor has deleted the rows.
func TestOnceInAGroup(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	const n = 60
	last := publish(t, client, n)
	onEach(t, func(t *testing.T, db *database) {
		db.makeLedger(t)
		group := strings.ToLower(t.Name())
		for round := range 3 {
			seen := &counting{}
			if round > 0 {
				if err := client.XGroupSetID(t.Context(), payments.Name, group, "0").Err(); err != nil {
					t.Fatal(err)
				}
			}
			var stops []func() // a consumer of an earlier round would take entries of this one
			for range 2 {
				consumer := must(stream.NewGroupConsumer(client, payments, group, streamsql.Once(db.store, db.payOne), stream.WithConcurrency(3), quiet, stream.WithObserver(seen)))(t)
				stops = append(stops, run(t, consumer))
			}
			seen.awaitEnded(t, n)
			for _, stop := range stops {
				stop()
			}
			if want := int64(n) * int64(1-min(round, 1)); seen.handled.Load() != want {
				t.Errorf("round %d has handled %d entries; want %d", round+1, seen.handled.Load(), want)
			}
			if round == 1 {
				db.compact(t, client, group, last)
			}
		}
		db.check(t, n)
	})
}

// After a COMMIT without an answer, the next delivery finds out whether it was done.
func TestOnceAfterALostCommit(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	const n = 30
	publish(t, client, n)
	onEach(t, func(t *testing.T, db *database) {
		db.makeLedger(t)
		lossy := db.losing(t, 3)
		for name, kind := range consumerKinds {
			db.exec(t, "DELETE FROM ledger")
			db.exec(t, "UPDATE account SET balance = 0")
			seen := &counting{}
			stop := run(t, kind(t, client, name+t.Name(), lossy, stream.WithObserver(seen), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond})))
			seen.awaitEnded(t, n)
			stop()
			if problem := db.problem(t, n); problem != "" || seen.failed.Load() == 0 || seen.skipped.Load() == 0 {
				t.Errorf("%s: %s; %d deliveries have failed, and %d were skipped", name, problem, seen.failed.Load(), seen.skipped.Load())
			}
		}
	})
}

// A handler that ends the transaction by itself is told so, and has no effect twice.
func TestTransactionEndedByTheHandler(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	publish(t, client, 1)
	for name, commits := range map[string]bool{"commit": true, "rollback": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, sqlstore.SQLite)
			db.makeLedger(t)
			var calls atomic.Int64
			handle := streamsql.Once(db.store, func(ctx context.Context, tx *sql.Tx, msg *stream.Message[payment]) error {
				if calls.Add(1); calls.Load() > 1 && !commits {
					return db.payOne(ctx, tx, msg)
				}
				if err := db.payOne(ctx, tx, msg); err != nil || !commits {
					return errors.Join(err, tx.Rollback())
				}
				return tx.Commit()
			})
			failures := make(chan error, 10)
			note := func(ctx context.Context, msg *stream.Message[payment]) error {
				err := handle(ctx, msg)
				failures <- err
				return err
			}
			seen := &counting{}
			stop := run(t, must(stream.NewConsumer(client, payments, db.store, note, stream.WithLabel(name), quiet, stream.WithObserver(seen)))(t))
			seen.awaitEnded(t, 1)
			stop()
			db.check(t, 1)
			if err := <-failures; err == nil || !strings.Contains(err.Error(), "leave COMMIT and ROLLBACK to Once") {
				t.Errorf("the first delivery has ended with %v", err)
			}
		})
	}
}

// A panic and a runtime error roll back, and are the consumer's to tell.
func TestPanicRollsBack(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	publish(t, client, 5)
	db := newDatabase(t, sqlstore.SQLite)
	db.makeLedger(t)
	var calls atomic.Int64
	handle := streamsql.Once(db.store, func(ctx context.Context, tx *sql.Tx, msg *stream.Message[payment]) error {
		if err := db.payOne(ctx, tx, msg); err != nil {
			return err
		}
		if calls.Add(1)%2 == 1 {
			panic("now")
		}
		return nil
	})
	seen := &counting{}
	stop := run(t, must(stream.NewConsumer(client, payments, db.store, handle, quiet, stream.WithObserver(seen)))(t))
	seen.awaitEnded(t, 5)
	stop()
	db.check(t, 5)
	if seen.failed.Load() != 5 {
		t.Errorf("%d deliveries have failed; want 5", seen.failed.Load())
	}
	if open := db.Stats().InUse; open != 0 {
		t.Errorf("%d connections are still in use", open)
	}
}

// A consumer that had several handlers, and was killed, has left rows in the inbox.
func TestInOrderAfterSeveralHandlers(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	publish(t, client, 10)
	entries, err := client.XRange(t.Context(), payments.Name, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	db := newDatabase(t, sqlstore.SQLite)
	db.makeLedger(t)
	tx := begin(t, db, sql.LevelDefault)
	for _, i := range []int{2, 5} {
		if isNew, err := db.store.Enter(t.Context(), tx, payments.Name, entries[i].ID); err != nil || !isNew[0] {
			t.Fatal(isNew, err)
		}
		if err := db.pay(t.Context(), tx, payment{Number: i, Amount: amountOf(i)}); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, tx)
	seen := &counting{}
	stop := run(t, must(stream.NewConsumer(client, payments, db.store, streamsql.Once(db.store, db.payOne), quiet, stream.WithObserver(seen)))(t))
	seen.awaitEnded(t, 10)
	stop()
	db.check(t, 10)
	if seen.skipped.Load() != 2 {
		t.Errorf("%d entries were skipped; want 2", seen.skipped.Load())
	}
	if rows := db.number(t, "SELECT count(*) FROM millrace_inbox"); rows != 0 {
		t.Errorf("%d rows are left in the inbox", rows)
	}
}

// At the highest level, transactions that meet are refused, and the messages handled again.
func TestOnceWithSerializationFailures(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	const n = 60
	publish(t, client, n)
	for _, dialect := range []sqlstore.Dialect{sqlstore.Postgres, sqlstore.MySQL} {
		t.Run(dialect.String(), func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, dialect)
			db.makeLedger(t)
			handle := streamsql.Once(db.store, func(ctx context.Context, tx *sql.Tx, msg *stream.Message[payment]) error {
				balance := 0
				if err := tx.QueryRowContext(ctx, "SELECT balance FROM account").Scan(&balance); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, db.bind("INSERT INTO ledger (number, amount) VALUES (?, ?)"), msg.Value.Number, msg.Value.Amount); err != nil {
					return err
				}
				_, err := tx.ExecContext(ctx, db.bind("UPDATE account SET balance = ?"), balance+msg.Value.Amount)
				return err
			}, streamsql.WithIsolation(sql.LevelSerializable))
			seen := &counting{}
			stop := run(t, must(stream.NewGroupConsumer(client, payments, dialect.String(), handle, stream.WithConcurrency(4), quiet,
				stream.WithObserver(seen), stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: 20 * time.Millisecond})))(t))
			seen.awaitEnded(t, n)
			stop()
			db.check(t, n)
			if seen.failed.Load() == 0 {
				t.Error("no transaction was refused: the test shows nothing")
			}
		})
	}
}

// A batch is one transaction. What handles it may tell which messages have failed, or Bisect finds
// out; entries that were handled before are not in it.
func TestOnceEach(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	const n = 50
	publish(t, client, n)
	bad := func(msg *stream.Message[payment]) bool { return msg.Value.Number%20 == 7 } // 7, 27 and 47
	errBad := stream.Permanent(errors.New("bad"))
	handlers := map[string]func(db *database) stream.BatchHandler[payment]{
		"partial": func(db *database) stream.BatchHandler[payment] {
			return streamsql.OnceEach(db.store, func(ctx context.Context, tx *sql.Tx, batch []*stream.Message[payment]) error {
				errs := make([]error, len(batch))
				for i, msg := range batch {
					if errs[i] = db.pay(ctx, tx, msg.Value); bad(msg) {
						errs[i] = errBad
					}
				}
				return stream.Partial(errs)
			})
		},
		"bisect": func(db *database) stream.BatchHandler[payment] {
			return stream.Bisect(streamsql.OnceEach(db.store, func(ctx context.Context, tx *sql.Tx, batch []*stream.Message[payment]) error {
				for _, msg := range batch {
					if bad(msg) {
						return errBad
					}
				}
				return db.payEach(ctx, tx, batch)
			}))
		},
	}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, sqlstore.Postgres)
			db.makeLedger(t)
			toDeadLetter := func(next stream.EntryHandler) stream.EntryHandler {
				return func(ctx context.Context, entry *stream.Entry) error {
					err := next(ctx, entry)
					if err == nil || strings.Contains(err.Error(), "handled before") || ctx.Err() != nil {
						return err
					}
					return &stream.DeadLetterError{Err: err}
				}
			}
			for round, store := range []offset.Store{db.store, &offset.Memory{}} {
				seen := &counting{}
				stop := run(t, must(stream.NewBatchConsumer(client, payments, store, handler(db), stream.WithLabel(name), stream.WithBatch(30, 50*time.Millisecond),
					stream.WithMiddleware(toDeadLetter), quiet, stream.WithObserver(seen)))(t))
				streamtest.Await(t, "all entries end", func() bool { return seen.ended()+int(seen.failed.Load()) >= n })
				stop()
				if handled := seen.handled.Load(); round == 0 && handled != n-3 || round == 1 && handled != 0 {
					t.Errorf("round %d: %d entries were handled", round+1, handled)
				}
			}
			if rows := db.number(t, "SELECT count(*) FROM ledger"); rows != n-3 {
				t.Errorf("the ledger has %d rows; want %d", rows, n-3)
			}
			if rows := db.number(t, "SELECT count(DISTINCT number) FROM ledger WHERE number NOT IN (7, 27, 47)"); rows != n-3 {
				t.Errorf("the ledger has %d payments; want %d", rows, n-3)
			}
		})
	}
}

func TestOnceRefusesMistakes(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, sqlstore.SQLite)
	client := streamtest.StartRedis(t).Client()
	if _, err := stream.NewConsumer(client, payments, db.store, streamsql.Once[payment](nil, db.payOne)); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("a handler without a store: %v", err)
	}
	if _, err := stream.NewBatchConsumer(client, payments, db.store, streamsql.OnceEach[payment](db.store, nil)); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("a batch handler of nothing: %v", err)
	}
	msg := &stream.Message[payment]{Entry: stream.Entry{Stream: "payments", ID: "1-0"}}
	if err := streamsql.Once(db.store, db.payOne)(t.Context(), msg); err == nil || !strings.Contains(err.Error(), "call the function that was given to Once") {
		t.Errorf("a message that no consumer has read: %v", err)
	}
	if err := streamsql.OnceEach(db.store, db.payEach)(t.Context(), []*stream.Message[payment]{msg}); err == nil || !strings.Contains(err.Error(), "call the function that was given to Once") {
		t.Errorf("a batch that no consumer has read: %v", err)
	}
	_, err := streamsql.NewCompactor(nil, nil, " ", "", streamsql.WithInterval(0))
	for _, want := range []string{"store is nil", "client is", "topic", "group", "WithInterval(0s)"} {
		if !errors.Is(err, stream.ErrInvalidOption) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("NewCompactor = %v; want a text with %q", err, want)
		}
	}
}
