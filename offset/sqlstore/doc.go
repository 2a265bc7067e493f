// Package sqlstore keeps the positions of consumers in an SQL database: Postgres, MySQL or
// MariaDB, and SQLite. It uses database/sql alone. The program chooses the driver.
//
// A [Store] is an [offset.Store], and can be given to stream.NewConsumer like any other. Its
// purpose is more than that: a position in the database of the application can move in the
// transaction that writes the results ([Store.Pass], [Store.Enter]). A handler that does so may run
// more than once for an entry, and its effects in the database happen once.
//
// # Tables
//
// [Store.Schema] returns the statements that make the tables, for the migrations of the
// application; [Store.CreateTables] executes them.
//
//	millrace_position(label, id)  the last entry that was passed, for each label
//	millrace_inbox(label, id)     entries above it that have been handled
//	millrace_outbox(id, topic, token, pairs, at)  entries that are to be published, of package streamsql
//
// An ID is stored in a fixed width, "%020d-%020d", so that the database compares two of them
// as Redis does. [Text] makes that form. A position in another form is
// [offset.ErrCorrupt]: the database would compare it wrongly.
//
// # Positions and the inbox
//
// [Store.Pass] moves a position within a transaction of the caller. It is right for entries that
// are handled in order, one at a time. [Store.Enter] is right for all others: it writes a row for
// each entry into the inbox, and a second transaction with the same entry finds the row. The
// inbox stays small, because an entry at or below the position has no row: [Store.Save] and
// [Store.Compact] move the position first, and delete the rows afterwards. Enter therefore writes
// its rows before it reads the position. A row that is missing because it was deleted implies a
// position that was committed before, and Enter sees that position.
//
// That holds at READ COMMITTED without any lock. At REPEATABLE READ and SERIALIZABLE in Postgres
// a transaction sees an old position, so that Enter reads it with a share lock there, which
// Postgres refuses for a row that has changed. READ COMMITTED is the better choice: a Save does
// not wait for transactions at work then.
//
// # SQLite
//
// SQLite has one writer at a time. Open it with a busy timeout, or a transaction that meets
// another one fails at once; the entry is tried again then, after a back-off. The first statement
// of each transaction here is a write, so that no transaction has to become a writer later, which
// SQLite refuses.
//
// # Goroutines and locks
//
// The package starts no goroutine. A Store has one mutex, for its notes about labels; it is not
// held while the database is asked.
package sqlstore
