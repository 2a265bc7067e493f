package sqltest_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamsql"
)

// consumerKinds make the consumers of payments that write to a database once.
var consumerKinds = map[string]func(t testing.TB, client redis.UniversalClient, name string, db *database, opts ...stream.Option) stream.Runnable{
	"log": func(t testing.TB, client redis.UniversalClient, name string, db *database, opts ...stream.Option) stream.Runnable {
		t.Helper()
		return must(stream.NewConsumer(client, payments, db.store, streamsql.Once(db.store, db.payOne), with(opts, stream.WithLabel(name))...))(t)
	},
	"log concurrent": func(t testing.TB, client redis.UniversalClient, name string, db *database, opts ...stream.Option) stream.Runnable {
		t.Helper()
		return must(stream.NewConsumer(client, payments, db.store, streamsql.Once(db.store, db.payOne), with(opts, stream.WithLabel(name), stream.WithConcurrency(3))...))(t)
	},
	"log batch": func(t testing.TB, client redis.UniversalClient, name string, db *database, opts ...stream.Option) stream.Runnable {
		t.Helper()
		return must(stream.NewBatchConsumer(client, payments, db.store, streamsql.OnceEach(db.store, db.payEach),
			with(opts, stream.WithLabel(name), stream.WithBatch(7, 20*time.Millisecond))...))(t)
	},
	"group": func(t testing.TB, client redis.UniversalClient, name string, db *database, opts ...stream.Option) stream.Runnable {
		t.Helper()
		return must(stream.NewGroupConsumer(client, payments, name, streamsql.Once(db.store, db.payOne), with(opts, stream.WithConcurrency(3))...))(t)
	},
	"group batch": func(t testing.TB, client redis.UniversalClient, name string, db *database, opts ...stream.Option) stream.Runnable {
		t.Helper()
		return must(stream.NewGroupBatchConsumer(client, payments, name, streamsql.OnceEach(db.store, db.payEach),
			with(opts, stream.WithBatch(7, 20*time.Millisecond), stream.WithConcurrency(2))...))(t)
	},
}

// with returns the options of a kind, and those of a test behind them.
func with(opts []stream.Option, more ...stream.Option) []stream.Option {
	return append(append([]stream.Option{quiet}, more...), opts...)
}
