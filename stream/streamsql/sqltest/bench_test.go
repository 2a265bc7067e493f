package sqltest_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/streamsql"
	"millrace/stream/streamtest"
)

// BenchmarkOnce measures payments a second, next to loops that are written by hand for the same
// transactions, in the same run. The loops decode with the topic's codec, and have no care for
// anything else.
//
//	go test -run '^$' -bench . -benchtime 5x
func BenchmarkOnce(b *testing.B) {
	const n, batch = benchPayments, 100
	client := streamtest.StartRedis(b, "--appendonly", "no").Client()
	publish(b, client, n)
	for _, dialect := range []sqlstore.Dialect{sqlstore.Postgres, sqlstore.SQLite} {
		b.Run(dialect.String(), func(b *testing.B) {
			db := newDatabase(b, dialect)
			db.makeLedger(b)
			var once, each, byHand, byHandEach time.Duration
			for b.Loop() {
				byHand += db.benchmark(b, func(ctx context.Context) error { return handWritten(ctx, client, db, n, 1) })
				once += db.benchmark(b, func(ctx context.Context) error {
					return consume(ctx, n, func(seen stream.Option) (stream.Runnable, error) {
						return stream.NewConsumer(client, payments, db.store, streamsql.Once(db.store, db.payOne), stream.WithLabel("bank"), quiet, seen)
					})
				})
				byHandEach += db.benchmark(b, func(ctx context.Context) error { return handWritten(ctx, client, db, n, batch) })
				each += db.benchmark(b, func(ctx context.Context) error {
					return consume(ctx, n, func(seen stream.Option) (stream.Runnable, error) {
						return stream.NewBatchConsumer(client, payments, db.store, streamsql.OnceEach(db.store, db.payEach), stream.WithLabel("bank"),
							stream.WithBatch(batch, 50*time.Millisecond), quiet, seen)
					})
				})
			}
			rate := func(took time.Duration) float64 { return float64(n*b.N) / took.Seconds() }
			b.ReportMetric(rate(once), "once/s")
			b.ReportMetric(rate(once)/rate(byHand), "once-to-hand")
			b.ReportMetric(rate(each), "each/s")
			b.ReportMetric(rate(each)/rate(byHandEach), "each-to-hand")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// benchPayments is how many payments each run of a benchmark handles.
const benchPayments = 2000

// benchmark times a run on empty tables, and checks the ledger.
func (db *database) benchmark(b *testing.B, do func(ctx context.Context) error) time.Duration {
	b.Helper()
	for _, statement := range []string{"DELETE FROM ledger", "UPDATE account SET balance = 0", "DELETE FROM millrace_position", "DELETE FROM millrace_inbox"} {
		db.exec(b, statement)
	}
	start := time.Now()
	if err := do(b.Context()); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	if problem := db.problem(b, benchPayments); problem != "" {
		b.Fatal(problem)
	}
	return took
}

// consume runs a consumer until it has handled n entries.
func consume(ctx context.Context, n int, make func(seen stream.Option) (stream.Runnable, error)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	consumer, err := make(stream.WithObserver(&until{n: n, stop: stop}))
	if err != nil {
		return err
	}
	return consumer.Run(ctx)
}

// until stops a consumer when n entries have ended. Its entries are handled by one goroutine, or
// batch.
type until struct {
	counting
	n    int
	stop func()
}

func (u *until) OnEnd(end stream.DeliveryEnded) {
	u.counting.OnEnd(end)
	if u.ended() >= u.n {
		u.stop()
	}
}

// handWritten reads n payments, and writes each batch in a transaction with the position.
func handWritten(ctx context.Context, client redis.UniversalClient, db *database, n, batch int) error {
	for last := "0"; n > 0; {
		read, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{payments.Name, last}, Count: 500}).Result()
		if err != nil {
			return err
		}
		entries := read[0].Messages
		for len(entries) > 0 {
			part := entries[:min(batch, len(entries))]
			entries = entries[len(part):]
			if err := writeByHand(ctx, db, part); err != nil {
				return err
			}
			last, n = part[len(part)-1].ID, n-len(part)
		}
	}
	return nil
}

func writeByHand(ctx context.Context, db *database, part []redis.XMessage) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	at, err := offset.Parse(part[len(part)-1].ID)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, db.bind("INSERT INTO millrace_position (label, id) VALUES (?, ?) ON CONFLICT (label) DO UPDATE SET id = excluded.id"), "hand", sqlstore.Text(at)); err != nil {
		return err
	}
	for _, entry := range part {
		value, err := decode(entry)
		if err != nil {
			return err
		}
		if err := db.pay(ctx, tx, value); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func decode(entry redis.XMessage) (payment, error) {
	var pairs []string
	for name, value := range entry.Values {
		pairs = append(pairs, name, value.(string))
	}
	return paymentCodec.Decode(codec.FieldsOf(pairs...))
}

var paymentCodec = codec.Struct[payment]()
