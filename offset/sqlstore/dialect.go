package sqlstore

import (
	"strconv"
	"strings"
)

// Dialect is the SQL of a database. The zero Dialect is none, and [New] refuses it.
type Dialect uint8

// The dialects.
const (
	// Postgres is the dialect of PostgreSQL, version 9.5 or later.
	Postgres Dialect = iota + 1
	// MySQL is the dialect of MySQL, 5.7 or later, and MariaDB, 10.2 or later, with InnoDB.
	MySQL
	// SQLite is the dialect of SQLite, version 3.24 or later.
	SQLite
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case Postgres:
		return "Postgres"
	case MySQL:
		return "MySQL"
	case SQLite:
		return "SQLite"
	default:
		return "Dialect(" + strconv.Itoa(int(d)) + ")"
	}
}

func (d Dialect) isKnown() bool { return d >= Postgres && d <= SQLite }

// Bind returns a statement with its placeholders, which are written as "?", in the form of the
// database: "$1" and so on in Postgres. The statement must have no question mark elsewhere.
func (d Dialect) Bind(text string) string {
	if d != Postgres {
		return text
	}
	var b strings.Builder
	n := 0
	for _, r := range text {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}

// insertNew returns the start and the end of an INSERT that leaves out the rows which are there.
// IGNORE also makes warnings of values that do not fit: the values are checked before.
func (d Dialect) insertNew() (start, end string) {
	if d == MySQL {
		return "INSERT IGNORE INTO ", ""
	}
	return "INSERT INTO ", " ON CONFLICT DO NOTHING"
}

// statements are the texts for one dialect and one prefix of the tables.
type statements struct {
	load, mark, lock, save, pass, add, reset, remove string
	forget, compact, entered, anyRow                 string
	inbox, inboxEnd                                  string
}

func (d Dialect) statements(prefix string) statements {
	position, inbox := prefix+"position", prefix+"inbox"
	insert, end := d.insertNew()
	s := statements{
		load: "SELECT id FROM " + position + " WHERE label = ?",
		lock: "SELECT id FROM " + position + " WHERE label = ? FOR SHARE",
		save: "UPDATE " + position + " SET id = ? WHERE label = ? AND id = ?",
		// A text of another length is no position, and is to be left alone.
		pass: "UPDATE " + position + " SET id = ? WHERE label = ? AND id < ? AND length(id) = 41" +
			" AND NOT EXISTS (SELECT 1 FROM " + inbox + " WHERE label = ? AND id = ?)",
		add:      insert + position + " (label, id) VALUES (?, ?)" + end,
		reset:    "UPDATE " + position + " SET id = ? WHERE label = ?",
		remove:   "DELETE FROM " + position + " WHERE label = ?",
		forget:   "DELETE FROM " + inbox + " WHERE label = ?",
		compact:  "DELETE FROM " + inbox + " WHERE label = ? AND id <= ?",
		entered:  "SELECT EXISTS (SELECT 1 FROM " + inbox + " WHERE label = ? AND id = ?)",
		anyRow:   "SELECT EXISTS (SELECT 1 FROM " + inbox + " WHERE label = ?)",
		inbox:    insert + inbox + " (label, id) VALUES ",
		inboxEnd: end,
	}
	s.mark = "SELECT (" + s.load + "), 'read committed'"
	if d == Postgres {
		// The transaction's level may be a default that the program does not know.
		s.mark = "SELECT (" + s.load + "), current_setting('transaction_isolation')"
	}
	for _, text := range []*string{&s.load, &s.mark, &s.lock, &s.save, &s.pass, &s.add, &s.reset, &s.remove, &s.forget, &s.compact, &s.entered, &s.anyRow} {
		*text = d.Bind(*text)
	}
	return s
}

// rows returns n groups of so many placeholders each.
func rows(n, columns int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", columns), ", ") + ")"
	return strings.TrimSuffix(strings.Repeat(row+", ", n), ", ")
}
