package streamsql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/internal/conn"
)

// The bounds of a value in the outbox. A script cannot pass more texts to XADD, and a server takes
// no longer one by default.
const (
	maxTexts = 7900
	maxBytes = 512 << 20
	// longestTopic is the size of the column in MySQL.
	longestTopic = 512
)

// Enqueue writes a value into the outbox of the store within tx. A [Relay] publishes it to the topic
// after tx was committed. If tx is rolled back, the value is not published.
//
// The value is validated and encoded now, by the topic's codec. [stream.WithHeader] gives the entry
// headers. After a [*stream.EncodeError] the value or the topic is to be corrected: the codec refuses
// it, or the value has more than 7,900 names and values together, or more than 512 MiB, or the name
// of the topic is blank, longer than 512 bytes, or no UTF-8. Nothing was written, and tx can be used
// further. After any other error it has to be rolled back.
//
// It is safe for concurrent use with a transaction each.
func Enqueue[T any](ctx context.Context, tx *sql.Tx, store *sqlstore.Store, topic stream.Topic[T], value T, opts ...stream.PublishOption) error {
	if tx == nil || store == nil {
		return errors.New("streamsql: Enqueue was given no transaction, or no store; pass the transaction in which the value is to be written, and what sqlstore.New returned")
	}
	pairs, err := topic.Encode(value, opts...)
	if err == nil {
		err = checkRow(topic.Name, pairs)
	}
	if err != nil {
		return err
	}
	var token [16]byte
	_, _ = rand.Read(token[:]) // it never fails
	if _, err := tx.ExecContext(ctx, outboxOf(store).insert, topic.Name, hex.EncodeToString(token[:]), pack(pairs)); err != nil {
		return fmt.Errorf("streamsql: write a value for %s into table %soutbox: %w", topic.Name, store.Prefix(), err)
	}
	return nil
}

// checkRow refuses an entry that not every database and every server can hold.
func checkRow(topic string, pairs []string) error {
	bytes := 0
	for _, text := range pairs {
		bytes += len(text)
	}
	var err error
	switch {
	case len(topic) > longestTopic || !utf8.ValidString(topic) || strings.Contains(topic, "\x00"):
		err = fmt.Errorf("the name of the topic has to be UTF-8 without NUL, of at most %d bytes; choose another one", longestTopic)
	case len(pairs) > maxTexts || bytes > maxBytes:
		err = fmt.Errorf("it has %d names and values with %d bytes, and no more than %d with %d bytes are allowed in an outbox; publish less in one entry", len(pairs), bytes, maxTexts, maxBytes)
	default:
		return nil
	}
	return &stream.EncodeError{Stream: topic, Err: err}
}

// OutboxKey returns the key of the hash in which a [Relay] keeps the gates of a topic: a token for
// each row that is published, and not known to be deleted. In a cluster it is in the topic's slot.
func OutboxKey(topic string) string { return conn.Beside(topic, ":outbox") }

// outbox has the statements for the table of a store.
type outbox struct {
	dialect            sqlstore.Dialect
	table              string
	insert, next, read string
	byNumber           string // is followed by a list
}

func outboxOf(store *sqlstore.Store) outbox {
	d, table := store.Dialect(), store.Prefix()+"outbox"
	return outbox{
		dialect: d,
		table:   table,
		insert:  d.Bind("INSERT INTO " + table + " (topic, token, pairs) VALUES (?, ?, ?)"),
		// With the index, each topic is one step, however many rows it has.
		next:     d.Bind("SELECT min(topic) FROM " + table + " WHERE topic > ?"),
		read:     d.Bind("SELECT id, token, pairs FROM " + table + " WHERE topic = ? ORDER BY id LIMIT ?"),
		byNumber: "SELECT token FROM " + table + " WHERE topic = ? AND id IN (",
	}
}

// row is a row of the outbox. A number is only for the order: the token is its name.
type row struct {
	number int64
	token  string
	pairs  []string
}

// nextTopic returns the first topic behind another one that has rows, or an empty one.
func (o *outbox) nextTopic(ctx context.Context, db *sql.DB, behind string) (topic string, err error) {
	var found sql.NullString
	err = db.QueryRowContext(ctx, o.next, behind).Scan(&found)
	return found.String, err
}

// rows returns the first rows of a topic, no more than limit, and of no more than bytes unless the
// first has more. more reports whether there may be others.
func (o *outbox) rows(ctx context.Context, db *sql.DB, topic string, limit, bytes int) (list []row, more bool, err error) {
	found, err := db.QueryContext(ctx, o.read, topic, limit)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var one row
		var packed []byte
		if err := found.Scan(&one.number, &one.token, &packed); err != nil {
			return nil, false, err
		}
		if bytes -= len(packed); bytes < 0 && len(list) > 0 {
			return list, true, nil
		}
		if one.pairs, err = unpack(packed); err != nil {
			if len(list) > 0 {
				return list, true, nil // it is the first the next time
			}
			return nil, false, rowError(o.table, one.number, err)
		}
		list = append(list, one)
	}
	return list, len(list) == limit, found.Err()
}

// present returns which of the gates have a row, by their tokens.
func (o *outbox) present(ctx context.Context, db *sql.DB, topic string, numbers []any) (map[string]bool, error) {
	tokens := make(map[string]bool)
	for len(numbers) > 0 {
		n := min(len(numbers), 500)
		query := o.dialect.Bind(o.byNumber + placeholders(n) + ")")
		found, err := db.QueryContext(ctx, query, append([]any{topic}, numbers[:n]...)...)
		if err != nil {
			return nil, err
		}
		for found.Next() {
			var token string
			if err = found.Scan(&token); err != nil {
				break
			}
			tokens[token] = true
		}
		if err = errors.Join(err, found.Err(), found.Close()); err != nil {
			return nil, err
		}
		numbers = numbers[n:]
	}
	return tokens, nil
}

// remove deletes rows, by the token as well: a number can be another row's, after a restore, or a
// restart of MySQL 5.7.
func (o *outbox) remove(ctx context.Context, db *sql.DB, topic string, list []row) error {
	numbers, tokens, both := []any{topic}, make([]any, 0, len(list)), make([]any, 0, 1+2*len(list))
	for _, one := range list {
		numbers, tokens, both = append(numbers, one.number), append(tokens, one.token), append(both, one.number, one.token)
	}
	holders := placeholders(len(list))
	query, args := "DELETE FROM "+o.table+" WHERE topic = ? AND id IN ("+holders+") AND token IN ("+holders+")", append(numbers, tokens...)
	if o.dialect == sqlstore.MySQL {
		// It locks the rows that it looks at, and would wait for transactions that are open. With a list it
		// looks at the whole topic, if that is small; with a join in this order, at these rows.
		query = "DELETE o FROM (SELECT ? AS id, ? AS token" + strings.Repeat(" UNION ALL SELECT ?, ?", len(list)-1) + ") AS d" +
			" STRAIGHT_JOIN " + o.table + " AS o FORCE INDEX (PRIMARY) WHERE o.topic = ? AND o.id = d.id AND o.token = d.token"
		args = append(both, topic)
	}
	_, err := db.ExecContext(ctx, o.dialect.Bind(query), args...)
	return err
}

func placeholders(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func rowError(table string, number int64, err error) error {
	return fmt.Errorf("row %d of table %s, which is the first of its topic: %w", number, table, err)
}

// pack makes one text of many: each has its length in front, as binary.AppendUvarint writes it.
func pack(texts []string) []byte {
	size := 0
	for _, text := range texts {
		size += binary.MaxVarintLen32 + len(text)
	}
	packed := make([]byte, 0, size)
	for _, text := range texts {
		packed = append(binary.AppendUvarint(packed, uint64(len(text))), text...)
	}
	return packed
}

var errPacked = errors.New("its column pairs has another form than Enqueue gives it")

func unpack(packed []byte) (texts []string, err error) {
	for len(packed) > 0 {
		size, n := binary.Uvarint(packed)
		if n <= 0 || size > uint64(len(packed)-n) {
			return nil, errPacked
		}
		end := n + int(size)
		texts = append(texts, string(packed[n:end]))
		packed = packed[end:]
	}
	if len(texts) == 0 || len(texts)%2 != 0 || len(texts) > maxTexts {
		return nil, errPacked
	}
	return texts, nil
}
