package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"millrace/offset"
)

// Store is an [offset.Store] in an SQL database. [New] makes one. It is safe for concurrent use,
// by any number of processes: each change compares and writes in one statement, so that no race
// moves a position back.
//
// The user of the database needs the rights SELECT, INSERT, UPDATE and DELETE on the tables.
type Store struct {
	db      *sql.DB
	dialect Dialect
	prefix  string
	sql     statements

	// mu guards the notes, which only ever grow by labels.
	mu sync.Mutex
	// passed has the highest position that Pass has written here, for each label, and entered
	// whether the inbox has had rows of it.
	passed  map[string]string
	entered map[string]bool
}

// DefaultPrefix begins the names of the tables, unless [WithPrefix] says otherwise.
const DefaultPrefix = "millrace_"

// Option is an option of [New].
type Option interface{ apply(s *Store) }

type option func(s *Store)

func (o option) apply(s *Store) { o(s) }

// WithPrefix sets the text with which the names of the tables begin: a letter or "_" first, then
// letters, digits and "_", with a schema and a dot before it if need be, such as "app.eu_".
// Default: [DefaultPrefix]. Any other text, the empty one included, is refused. Applications that
// share a database need a prefix each, and so do two Redis servers with streams and groups of the
// same names.
func WithPrefix(prefix string) Option { return option(func(s *Store) { s.prefix = prefix }) }

var prefixes = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*$`)

// New returns a store in the tables of db, which [Store.Schema] describes. It does no I/O, and the
// store never closes db. A nil db, an unknown dialect and a wrong prefix are errors, all reported
// at once.
func New(db *sql.DB, dialect Dialect, opts ...Option) (*Store, error) {
	s := &Store{db: db, dialect: dialect, prefix: DefaultPrefix, passed: make(map[string]string), entered: make(map[string]bool)}
	for _, o := range opts {
		if o != nil {
			o.apply(s)
		}
	}
	var problems []error
	if db == nil {
		problems = append(problems, errors.New("sqlstore: db is nil: give the *sql.DB that sql.Open returned"))
	}
	if !dialect.isKnown() {
		problems = append(problems, fmt.Errorf("sqlstore: %v is no dialect: give sqlstore.Postgres, sqlstore.MySQL or sqlstore.SQLite", dialect))
	}
	if len(s.prefix) > longestPrefix || !prefixes.MatchString(s.prefix) {
		problems = append(problems, fmt.Errorf("sqlstore: WithPrefix(%.*q): give at most %d letters, digits and _, such as %q", longestPrefix, s.prefix, longestPrefix, DefaultPrefix))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	s.sql = dialect.statements(s.prefix)
	return s, nil
}

// longestPrefix leaves room for the names of tables in the 63 bytes of Postgres.
const longestPrefix = 50

// DB returns the database of the store.
func (s *Store) DB() *sql.DB { return s.db }

// Dialect returns the dialect of the store.
func (s *Store) Dialect() Dialect { return s.dialect }

// Prefix returns the text with which the names of the store's tables begin.
func (s *Store) Prefix() string { return s.prefix }

// Text returns an ID in the form in which the tables have it: 41 characters, which the database
// compares as Redis compares IDs.
func Text(id offset.ID) string { return fmt.Sprintf("%020d-%020d", id.Ms, id.Seq) }

// parse reads an ID of a table. A text in another form than that of Text would be compared wrongly.
func parse(text string) (offset.ID, error) {
	id, err := offset.Parse(text)
	if err != nil || Text(id) != text {
		return offset.ID{}, fmt.Errorf("%w (it has to be an ID in the form of sqlstore.Text, %%020d-%%020d)", offset.ErrCorrupt)
	}
	return id, nil
}

// longestLabel is the size of a label's column in MySQL.
const longestLabel = 512

// check refuses a label that not every database can hold, and parses an ID.
func check(label, id string) (offset.ID, error) {
	if err := checkLabel(label); err != nil {
		return offset.ID{}, err
	}
	return offset.Parse(id)
}

func checkLabel(label string) error {
	if len(label) > longestLabel || !utf8.ValidString(label) || strings.Contains(label, "\x00") {
		return fmt.Errorf("a label has to be UTF-8 without NUL, of at most %d bytes; choose another one", longestLabel)
	}
	return nil
}

// Load implements [offset.Store]. Errors of the database are wrapped; the call may be repeated.
func (s *Store) Load(ctx context.Context, label string) (id string, found bool, err error) {
	if err := checkLabel(label); err != nil {
		return "", false, s.failed("load", label, err)
	}
	at, found, err := s.position(ctx, s.db, s.sql.load, label)
	if err != nil || !found {
		return "", false, s.failed("load", label, err)
	}
	return at.String(), true, nil
}

// queryer is a *sql.DB or a *sql.Tx.
type queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (s *Store) position(ctx context.Context, in queryer, query, label string) (id offset.ID, found bool, err error) {
	var text string
	switch err := in.QueryRowContext(ctx, query, label).Scan(&text); {
	case errors.Is(err, sql.ErrNoRows):
		return offset.ID{}, false, nil
	case err != nil:
		return offset.ID{}, false, err
	}
	id, err = parse(text)
	return id, err == nil, err
}

// is returns the truth that a query finds.
func is(ctx context.Context, in queryer, query string, args ...any) (yes bool, err error) {
	err = in.QueryRowContext(ctx, query, args...).Scan(&yes)
	return yes, err
}

// exec executes a statement, and returns how many rows it has changed.
func exec(ctx context.Context, in queryer, query string, args ...any) (changed int64, err error) {
	result, err := in.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Save implements [offset.Store]. Where the inbox has rows of the label, it also deletes those that
// the position has passed. Errors of the database are wrapped; the call may be
// repeated.
//
// It tells the offset that it finds ([offset.Found]), unless that is one that [Store.Pass] has
// written here: no other consumer has moved the position then.
func (s *Store) Save(ctx context.Context, label, id string) error {
	next, err := check(label, id)
	if err != nil {
		return s.failed("save", label, err)
	}
	before, err := s.save(ctx, label, next)
	var inInbox bool
	if err == nil {
		inInbox, err = s.hasEntered(ctx, label)
	}
	if err == nil && inInbox {
		_, err = exec(ctx, s.db, s.sql.compact, label, Text(next))
	}
	if err != nil {
		return s.failed("save", label, err)
	}
	if before == "" || !s.hasPassed(label, before) {
		offset.Found(ctx, before)
	}
	return nil
}

// save moves the position to next unless it is there or above. Each try compares and writes in one
// statement; it fails if another one has moved the position meanwhile, and the next try begins
// there.
func (s *Store) save(ctx context.Context, label string, next offset.ID) (before string, err error) {
	for {
		at, found, err := s.position(ctx, s.db, s.sql.load, label)
		if err != nil {
			return "", err
		}
		var changed int64
		switch {
		case !found:
			changed, err = exec(ctx, s.db, s.sql.add, label, Text(next))
		case at.Compare(next) >= 0:
			return at.String(), nil
		default:
			before = at.String()
			changed, err = exec(ctx, s.db, s.sql.save, Text(next), label, Text(at))
		}
		if err != nil {
			return "", err
		}
		if changed > 0 {
			return before, nil
		}
	}
}

// Reset implements [offset.Resetter]. The rows of the label in the inbox are deleted with it:
// entries behind id are handled again. Errors of the database are wrapped; the call may be
// repeated.
func (s *Store) Reset(ctx context.Context, label, id string) error {
	next, err := check(label, id)
	if err == nil {
		err = s.reset(ctx, label, next)
	}
	return s.failed("reset", label, err)
}

func (s *Store) reset(ctx context.Context, label string, next offset.ID) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if _, err := exec(ctx, tx, s.sql.forget, label); err != nil {
		return err
	}
	// Both, because MySQL counts no row that has the value already.
	if _, err := exec(ctx, tx, s.sql.add, label, Text(next)); err != nil {
		return err
	}
	if _, err := exec(ctx, tx, s.sql.reset, Text(next), label); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.passed, label)
	return nil
}

// failed makes the error of an operation, nil of nil.
func (s *Store) failed(operation, label string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlstore: %s label %.80q in table %sposition: %w", operation, label, s.prefix, err)
}

// hasPassed reports whether Pass has written the position here, or one above it.
func (s *Store) hasPassed(label, id string) bool {
	at, err := offset.Parse(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && Text(at) <= s.passed[label]
}

// hasEntered reports whether the inbox has had rows of label: written here, or by a process that was
// there before.
func (s *Store) hasEntered(ctx context.Context, label string) (bool, error) {
	s.mu.Lock()
	entered, known := s.entered[label]
	s.mu.Unlock()
	if known {
		return entered, nil
	}
	found, err := is(ctx, s.db, s.sql.anyRow, label)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entered[label] = s.entered[label] || found // an Enter may have come in between
	return s.entered[label], nil
}
