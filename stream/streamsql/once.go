package streamsql

import (
	"context"
	"database/sql"

	"millrace/offset/sqlstore"
	"millrace/stream"
)

// Handler processes a message within a transaction, for [Once]. What it writes with tx happens once,
// however often the message is delivered. The transaction is committed when it returns nil, and
// rolled back otherwise. It must not end the transaction itself, and has to return the errors of its
// statements: a database may have given up the transaction with one of them.
type Handler[T any] func(ctx context.Context, tx *sql.Tx, msg *stream.Message[T]) error

// BatchHandler processes messages within a transaction, for [OnceEach]. All is committed or nothing:
// see [Handler]. It may return [stream.Partial], with an error for each message that it was given.
type BatchHandler[T any] func(ctx context.Context, tx *sql.Tx, batch []*stream.Message[T]) error

// Once returns a handler that runs handle in a transaction of the store's database, which also notes
// that the message is done. A message that was handled before is skipped, with that as the reason:
// its transaction was committed, and the consumer or Redis does not know, because one of them was
// killed, or a reply was lost.
//
// In log mode, give the consumer the same store. Where it handles one message at a time, the
// transaction moves the position of the store. Otherwise, and in group mode, it writes a row into the
// inbox; a group needs a [Compactor], or the inbox grows for ever. See [Label] for the label. A
// label may change from one of the two ways to the other when its consumer is started anew. Two
// processes must not use it both ways at the same time.
//
// An error of handle is returned as it is. An error of the database is an ordinary one: the message
// is held, and tried again. So is a COMMIT without an answer: the next delivery finds out whether it
// was done.
//
// A handler of which the store or handle is nil is nil, which the constructors of consumers refuse.
func Once[T any](store *sqlstore.Store, handle Handler[T], opts ...Option) stream.Handler[T] {
	if store == nil || handle == nil {
		return nil
	}
	t := newTransactor(store, opts)
	return func(ctx context.Context, msg *stream.Message[T]) error {
		return t.one(ctx, &msg.Entry, func(tx *sql.Tx) error { return handle(ctx, tx, msg) })
	}
}

// OnceEach is [Once] for the handler of a batch: one transaction, and a row in the inbox for each
// message. handle gets those that were not handled before.
//
// After an error all is rolled back, and all messages have failed with it. After [stream.Partial] all
// is rolled back as well, and handle is called again, in a new transaction, with the messages that
// have no error. For a handler that cannot tell which message it fails on,
// stream.Bisect(streamsql.OnceEach(...)) finds out, with one transaction for each part. That is so
// on Postgres, which refuses all statements behind one that has failed, unless the handler has a
// savepoint for each message.
func OnceEach[T any](store *sqlstore.Store, handle BatchHandler[T], opts ...Option) stream.BatchHandler[T] {
	if store == nil || handle == nil {
		return nil
	}
	t := newTransactor(store, opts)
	return func(ctx context.Context, batch []*stream.Message[T]) error {
		entries := make([]*stream.Entry, len(batch))
		for i, msg := range batch {
			entries[i] = &msg.Entry
		}
		return t.each(ctx, entries, func(tx *sql.Tx, which []int) error {
			list := make([]*stream.Message[T], len(which))
			for n, i := range which {
				list[n] = batch[i]
			}
			return handle(ctx, tx, list)
		})
	}
}
