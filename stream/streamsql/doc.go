// Package streamsql lets the effects of a handler in an SQL database happen once, however often the
// handler runs. The position of a consumer, or a row for each message, is in the database of the
// application, in the tables of a [sqlstore.Store], and moves in the transaction of the handler.
//
// # A handler with a transaction
//
// In log mode the consumer's offsets are in the store as well:
//
//	store, err := sqlstore.New(db, sqlstore.Postgres)
//	handle := streamsql.Once(store, func(ctx context.Context, tx *sql.Tx, msg *stream.Message[Order]) error {
//		_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance - $1 WHERE id = $2", msg.Value.Amount, msg.Value.Account)
//		return err
//	})
//	consumer, err := stream.NewConsumer(rdb, Orders, store, handle)
//
// In group mode a compactor keeps the inbox small:
//
//	consumer, err := stream.NewGroupConsumer(rdb, Orders, "billing", handle)
//	compactor, err := streamsql.NewCompactor(store, rdb, Orders.Name, "billing")
//	runner.Add(consumer, compactor)
//
// [OnceEach] does the same for the handler of a batch, in one transaction for all of it.
//
// # Delivery
//
// A message is delivered again when a consumer or Redis was killed before it was settled, when it
// was claimed from a consumer that stood still, and when the reply to a COMMIT was lost. In each case
// the database decides: if the transaction was committed, the message is skipped, and otherwise it is
// handled. Two consumers that have one message at the same time wait for each other: the second one
// waits at its first statement, until the transaction of the first has ended.
//
// That holds for effects in the database of the store. Anything else that the handler does, such as
// a mail, happens as often as it runs. The position of a message is noted when its handler has
// returned nil; a message that is skipped, absorbed or made a dead letter has no effects in the
// database, and needs no note.
//
// A process that stands still in the middle of a transaction holds its locks until the database
// drops the connection: Postgres does so after idle_in_transaction_session_timeout, MariaDB after
// idle_transaction_timeout, both of which are off by default. The consumer that has claimed the
// message waits as long.
//
// A message is known by the ID of its entry. So a replay on purpose, of a group or label that has
// handled the messages before, skips them: give it another group or label, or reset the position
// ([Label]). A seek of a consumer in log mode resets it, because the store is the consumer's. Entries
// that a failover of Redis has taken back, and that were handled, stay handled.
//
// The tables are for one Redis: two servers with streams and groups of the same names need a store
// each, with sqlstore.WithPrefix.
//
// # Outbox
//
// [Enqueue] writes a value for a topic into a table, in a transaction of the program, and a [Relay]
// publishes it when the transaction was committed:
//
//	err := streamsql.Enqueue(ctx, tx, store, Bills, Bill{...})
//	relay, err := streamsql.NewRelay(store, rdb)
//	runner.Add(consumer, relay)
//
// In a handler of [Once], with its transaction, the value is published once for each message. The
// values of one transaction are published in the order of the calls, after all that was committed
// before it began.
//
// # Goroutines and locks
//
// The package starts no goroutine, and has no lock of its own.
package streamsql
