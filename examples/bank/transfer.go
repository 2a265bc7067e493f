package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/streamsql"
)

// Transfer is the event. Its amount is in cents.
type Transfer struct {
	ID     int   `mapstructure:"id" validate:"gte=0"`
	From   int   `mapstructure:"from" validate:"gte=0"`
	To     int   `mapstructure:"to" validate:"gte=0,nefield=From"`
	Amount int64 `mapstructure:"amount" validate:"gt=0"`
}

// Receipt is published for each transfer.
type Receipt struct {
	Transfer int `mapstructure:"transfer" validate:"gte=0"`
}

func transfersAt(key string) stream.Topic[Transfer] { return stream.Topic[Transfer]{Name: key} }

func receiptsAt(key string) stream.Topic[Receipt] {
	return stream.Topic[Receipt]{Name: receiptsOf(key)}
}

func receiptsOf(key string) string { return key + ":receipts" }

// move makes a transfer within a transaction.
func move(ctx context.Context, tx *sql.Tx, t Transfer) error {
	for _, step := range []struct {
		statement string
		args      []any
	}{
		{"INSERT INTO transfers (id) VALUES (?)", []any{t.ID}},
		{"UPDATE accounts SET balance = balance - ? WHERE id = ?", []any{t.Amount, t.From}},
		{"UPDATE accounts SET balance = balance + ? WHERE id = ?", []any{t.Amount, t.To}},
	} {
		if _, err := tx.ExecContext(ctx, step.statement, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// makeOnce returns what makes transfers: the transaction of the handler also moves the position of the
// consumer, and writes the receipt into the outbox, from where the relay publishes it.
func makeOnce(client *redis.Client, key string, db *sql.DB) (*stream.Runner, error) {
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		return nil, err
	}
	if err := store.CreateTables(context.Background()); err != nil {
		return nil, err
	}
	receipts := receiptsAt(key)
	consumer, err := stream.NewConsumer(client, transfersAt(key), store,
		streamsql.Once(store, func(ctx context.Context, tx *sql.Tx, msg *stream.Message[Transfer]) error {
			if err := move(ctx, tx, msg.Value); err != nil {
				return err
			}
			return streamsql.Enqueue(ctx, tx, store, receipts, Receipt{Transfer: msg.Value.ID})
		}))
	if err != nil {
		return nil, err
	}
	relay, err := streamsql.NewRelay(store, client)
	if err != nil {
		return nil, err
	}
	var r stream.Runner
	r.Add(consumer, relay)
	return &r, nil
}

// makeNaively returns what makes transfers without care: the position is in another place than the
// money, and a receipt is published when the money has been moved already.
func makeNaively(client *redis.Client, key string, db *sql.DB) (*stream.Runner, error) {
	producer, err := stream.NewProducer(client, receiptsAt(key))
	if err != nil {
		return nil, err
	}
	offsets, err := offset.NewRedis(client, key+":offsets")
	if err != nil {
		return nil, err
	}
	consumer, err := stream.NewConsumer(client, transfersAt(key), offsets,
		func(ctx context.Context, msg *stream.Message[Transfer]) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }() // after a commit it does nothing
			if err := move(ctx, tx, msg.Value); err != nil {
				return err
			}
			if err := tx.Commit(); err != nil {
				return err
			}
			_, err = producer.Publish(ctx, Receipt{Transfer: msg.Value.ID})
			return err
		})
	if err != nil {
		return nil, err
	}
	var r stream.Runner
	r.Add(consumer)
	return &r, nil
}

// publish adds transfers to the stream, and returns the balances that they lead to.
func publish(ctx context.Context, client *redis.Client, key string, transfers int) (balances []int64, err error) {
	producer, err := stream.NewProducer(client, transfersAt(key))
	if err != nil {
		return nil, err
	}
	balances = make([]int64, accounts)
	for i := range balances {
		balances[i] = start
	}
	values := make([]Transfer, transfers)
	for i := range values {
		t := Transfer{ID: i, From: i % accounts, To: (i + 1 + i/accounts%(accounts-1)) % accounts, Amount: int64(i%97 + 1)}
		balances[t.From] -= t.Amount
		balances[t.To] += t.Amount
		values[i] = t
	}
	_, err = producer.PublishAll(ctx, values)
	return balances, err
}

// receiptsIn returns for how many transfers there are receipts.
func receiptsIn(ctx context.Context, client *redis.Client, key string) (int, error) {
	of, _, err := readReceipts(ctx, client, key)
	return of, err
}

// readReceipts returns of how many transfers there are receipts, and how many receipts.
func readReceipts(ctx context.Context, client *redis.Client, key string) (of, n int, err error) {
	entries, err := client.XRange(ctx, receiptsOf(key), "-", "+").Result()
	distinct := make(map[any]bool)
	for _, entry := range entries {
		distinct[entry.Values["transfer"]] = true
	}
	return len(distinct), len(entries), err
}

// check holds the books against the transfers that were published.
func check(ctx context.Context, db *sql.DB, client *redis.Client, key string, transfers int, want []int64, out io.Writer) error {
	var problems []error
	var rows int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM transfers").Scan(&rows); err != nil {
		return err
	}
	if rows != transfers {
		problems = append(problems, fmt.Errorf("%d transfers were made more than once", rows-transfers))
	}
	wrong := 0
	for id, balance := range want {
		var have int64
		if err := db.QueryRowContext(ctx, "SELECT balance FROM accounts WHERE id = ?", id).Scan(&have); err != nil {
			return err
		}
		if have != balance {
			wrong++
		}
	}
	if wrong > 0 {
		problems = append(problems, fmt.Errorf("%d of %d balances are wrong", wrong, accounts))
	}
	_, receipts, err := readReceipts(ctx, client, key)
	if err != nil {
		return err
	}
	if receipts != transfers {
		problems = append(problems, fmt.Errorf("there are %d receipts for %d transfers", receipts, transfers))
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	fmt.Fprintf(out, "%d transfers were made, all %d balances are right, and there are %d receipts\n", transfers, accounts, receipts)
	return nil
}
