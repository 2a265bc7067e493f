package streamsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"millrace/offset/sqlstore"
	"millrace/stream"
)

// Label returns the label of a consumer in the tables of a store: its own label in log mode, and in
// group mode one that is made of the group and the stream. [sqlstore.Store.Reset] of it makes a
// place for a replay on purpose.
func Label(of stream.Identity) string {
	if of.Group != "" {
		return fmt.Sprintf("group %q of %s", of.Group, of.Stream)
	}
	return of.Label
}

// transactor runs handlers, each in a transaction that also notes the entries as done.
type transactor struct {
	store   *sqlstore.Store
	options sql.TxOptions
}

func newTransactor(store *sqlstore.Store, opts []Option) *transactor {
	return &transactor{store: store, options: txOptions(opts)}
}

// errNoReader is the error of a message that a test has made.
var errNoReader = errors.New("streamsql: the message was not delivered by a consumer, so that it has no label; in a test, call the function that was given to Once or OnceEach")

// errEnded is the error of a transaction that was over when the handler returned.
var errEnded = errors.New("streamsql: the transaction was over when the handler returned nil, so that it is not known whether its effects were committed; leave COMMIT and ROLLBACK to Once and OnceEach")

// done is the result for an entry that was handled before.
func done(label string) error {
	return stream.Skip(fmt.Sprintf("handled before: a transaction under the label %.200q has it", label))
}

// one handles an entry. Where entries are in order, the position is all that is written.
func (t *transactor) one(ctx context.Context, entry *stream.Entry, handle func(tx *sql.Tx) error) error {
	reader := entry.Reader()
	if reader == (stream.Identity{}) {
		return errNoReader
	}
	label := Label(reader)
	begun, err := t.transact(ctx, func(tx *sql.Tx) (isNew bool, err error) {
		if entry.InOrder() {
			return t.store.Pass(ctx, tx, label, entry.ID)
		}
		list, err := t.store.Enter(ctx, tx, label, entry.ID)
		return err == nil && list[0], err
	}, handle)
	if err == nil && !begun {
		return done(label)
	}
	return err
}

// each handles entries in one transaction. handle is called with the indexes of those that are
// new, and returns a *stream.BatchError, with one error for each of these, if it knows which have
// failed. All is rolled back then, and the others are handled again without them.
func (t *transactor) each(ctx context.Context, entries []*stream.Entry, handle func(tx *sql.Tx, which []int) error) error {
	errs, todo, partial := make([]error, len(entries)), make([]int, len(entries)), false
	for i := range entries {
		todo[i] = i
	}
	for len(todo) > 0 {
		failed, err := t.eachOf(ctx, entries, todo, errs, handle)
		switch {
		case err == nil:
			return stream.Partial(errs)
		case failed != nil:
			partial = true
			todo = failed.rest(todo, errs)
		case !partial:
			return err // for Bisect, which takes a BatchError for the last word
		default:
			for _, i := range todo {
				errs[i] = err
			}
			return stream.Partial(errs)
		}
	}
	return stream.Partial(errs)
}

// failures are the entries that have failed by themselves, by their indexes.
type failures map[int]error

// rest sets the errors of the entries that have failed, and returns those that have not.
func (f failures) rest(todo []int, errs []error) (rest []int) {
	for _, i := range todo {
		switch {
		case f[i] != nil:
			errs[i] = f[i]
		case errs[i] == nil: // or it was handled before
			rest = append(rest, i)
		}
	}
	return rest
}

// eachOf handles some of the entries in one transaction, and sets the results of those that were
// handled before. After an error, failed has the entries that have failed by themselves, if the
// handler knows.
func (t *transactor) eachOf(ctx context.Context, entries []*stream.Entry, todo []int, errs []error, handle func(tx *sql.Tx, which []int) error) (failed failures, err error) {
	reader := entries[todo[0]].Reader()
	if reader == (stream.Identity{}) {
		return nil, errNoReader
	}
	label := Label(reader)
	ids := make([]string, len(todo))
	for n, i := range todo {
		ids[n] = entries[i].ID
	}
	var fresh []int
	_, err = t.transact(ctx, func(tx *sql.Tx) (bool, error) {
		isNew, err := t.store.Enter(ctx, tx, label, ids...)
		if err != nil {
			return false, err
		}
		for n, i := range todo {
			if isNew[n] {
				fresh = append(fresh, i)
			} else {
				errs[i] = done(label)
			}
		}
		return len(fresh) > 0, nil
	}, func(tx *sql.Tx) error { return handle(tx, fresh) })
	var each *stream.BatchError
	if !errors.As(err, &each) {
		return nil, err
	}
	if len(each.Errs) != len(fresh) {
		return nil, fmt.Errorf("streamsql: the batch handler told of %d messages, of a batch of %d; give stream.Partial one error for each", len(each.Errs), len(fresh))
	}
	failed = make(failures)
	for n, i := range fresh {
		if each.Errs[n] != nil {
			failed[i] = each.Errs[n]
		}
	}
	if len(failed) == 0 {
		return nil, errors.New("streamsql: the batch handler returned a BatchError in which no message has failed; return nil, or what stream.Partial returns")
	}
	return failed, err
}

// transact runs a transaction. claim notes entries as done, in it, and reports whether there is
// anything to do; begun tells that. The transaction is rolled back unless handle has returned nil:
// also when it panics, or ends its goroutine.
func (t *transactor) transact(ctx context.Context, claim func(tx *sql.Tx) (bool, error), handle func(tx *sql.Tx) error) (begun bool, err error) {
	tx, err := t.store.DB().BeginTx(ctx, &t.options)
	if err != nil {
		return false, fmt.Errorf("streamsql: begin a transaction: %w", err)
	}
	committed := false
	defer func() {
		if !committed {
			_ = tx.Rollback() // the database does it too, when the connection is closed
		}
	}()
	if begun, err = claim(tx); err != nil || !begun {
		return false, err
	}
	if err := handle(tx); err != nil {
		return true, err
	}
	err = tx.Commit()
	switch {
	case err == nil:
		committed = true
		return true, nil
	case errors.Is(err, sql.ErrTxDone) && ctx.Err() == nil:
		return true, errEnded
	default:
		return true, fmt.Errorf("streamsql: commit, of which it is not known whether it was done; the next delivery finds out: %w", err)
	}
}
