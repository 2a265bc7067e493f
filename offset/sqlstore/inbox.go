package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"millrace/offset"
)

// Pass moves the position of label to id within tx, and reports whether it did. False means that
// the position is at id or above already, or the inbox has the entry: it was handled before, and tx
// has to be rolled back. A second transaction waits here for the first.
//
// Pass is for entries that are handled in order and one at a time. For any others a position
// passes entries that are not done; use [Store.Enter]. Both may be used under one label one after
// the other, as by a program that has changed between two starts, but not at the same time: a Pass
// does not see a row of an Enter that is not committed.
func (s *Store) Pass(ctx context.Context, tx *sql.Tx, label, id string) (moved bool, err error) {
	next, err := check(label, id)
	if err == nil {
		moved, err = s.pass(ctx, tx, label, Text(next))
	}
	return moved, s.failed("pass", label, err)
}

func (s *Store) pass(ctx context.Context, tx *sql.Tx, label, next string) (moved bool, err error) {
	changed, err := exec(ctx, tx, s.sql.pass, next, label, next, label, next)
	if err == nil && changed == 0 {
		var entered bool
		if entered, err = is(ctx, tx, s.sql.entered, label, next); entered && err == nil {
			return false, nil
		}
	}
	if err == nil && changed == 0 {
		// This waits for another transaction that adds the same label.
		changed, err = exec(ctx, tx, s.sql.add, label, next)
	}
	if err == nil && changed == 0 {
		// Another transaction may have added the label between the two.
		changed, err = exec(ctx, tx, s.sql.pass, next, label, next, label, next)
	}
	if err != nil {
		return false, err
	}
	if changed == 0 {
		// A text that is no ID may be above all IDs: the entry is not done then.
		_, _, err := s.position(ctx, tx, s.sql.load, label)
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed[label] = max(s.passed[label], next)
	return true, nil
}

// Enter writes a row for each of the entries into the inbox of label within tx, and reports for
// each of them whether it is new. An entry that is not new was handled before. If none is new, tx
// has to be rolled back. A transaction with an entry of another one that has not ended waits for
// that one here.
//
// The IDs have to be distinct. An error leaves tx in a state in which it has to be rolled back.
func (s *Store) Enter(ctx context.Context, tx *sql.Tx, label string, ids ...string) (isNew []bool, err error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		parsed, err := check(label, id)
		if err != nil {
			return nil, s.failed("enter", label, err)
		}
		texts[i] = Text(parsed)
	}
	s.mu.Lock()
	s.entered[label] = true
	s.mu.Unlock()
	isNew, err = s.enter(ctx, tx, label, texts)
	return isNew, s.failed("enter", label, err)
}

// enter writes the rows first and reads the position afterwards. The other way round, a row could
// be deleted in between, and the entry would be taken for a new one.
func (s *Store) enter(ctx context.Context, tx *sql.Tx, label string, ids []string) (isNew []bool, err error) {
	fresh, err := s.insert(ctx, tx, label, ids)
	if err != nil {
		return nil, err
	}
	mark, found, err := s.mark(ctx, tx, label)
	if err != nil {
		return nil, err
	}
	isNew = make([]bool, len(ids))
	for i, id := range ids {
		isNew[i] = fresh[id] && (!found || id > Text(mark))
	}
	return isNew, nil
}

// insert adds rows to the inbox, and returns which of them were not there.
func (s *Store) insert(ctx context.Context, tx *sql.Tx, label string, ids []string) (fresh map[string]bool, err error) {
	fresh = make(map[string]bool, len(ids))
	sorted := slices.Clone(ids)
	slices.Sort(sorted) // two transactions that have the same rows wait for each other in one order
	const chunk = 500
	for part := range slices.Chunk(sorted, chunk) {
		if err := s.insertPart(ctx, tx, label, part, fresh); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// insertPart adds rows with one statement. The database only tells how many were added. Where
// those are not all, it adds them again, one by one: an entry that comes again is rare.
func (s *Store) insertPart(ctx context.Context, tx *sql.Tx, label string, ids []string, fresh map[string]bool) error {
	const point = "millrace_inbox"
	if len(ids) > 1 {
		if _, err := tx.ExecContext(ctx, "SAVEPOINT "+point); err != nil {
			return err
		}
	}
	added, err := s.insertRows(ctx, tx, label, ids)
	if err != nil {
		return err
	}
	if added == int64(len(ids)) {
		for _, id := range ids {
			fresh[id] = true
		}
		return nil
	}
	if len(ids) == 1 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+point); err != nil {
		return err
	}
	for _, id := range ids {
		added, err := s.insertRows(ctx, tx, label, []string{id})
		if err != nil {
			return err
		}
		fresh[id] = fresh[id] || added > 0
	}
	return nil
}

func (s *Store) insertRows(ctx context.Context, tx *sql.Tx, label string, ids []string) (added int64, err error) {
	args := make([]any, 0, 2*len(ids))
	for _, id := range ids {
		args = append(args, label, id)
	}
	return exec(ctx, tx, s.dialect.Bind(s.sql.inbox+rows(len(ids), 2)+s.sql.inboxEnd), args...)
}

// mark returns the position of label, of which no compaction that has deleted rows is ahead.
func (s *Store) mark(ctx context.Context, tx *sql.Tx, label string) (mark offset.ID, found bool, err error) {
	var text sql.NullString
	var level string
	if err := tx.QueryRowContext(ctx, s.sql.mark, label).Scan(&text, &level); err != nil {
		return offset.ID{}, false, err
	}
	if strings.HasPrefix(level, "read ") {
		if !text.Valid {
			return offset.ID{}, false, nil
		}
		mark, err = parse(text.String)
		return mark, err == nil, err
	}
	// The snapshot may be older than a compaction. Postgres refuses the lock of a row that has
	// changed since the snapshot.
	if mark, found, err = s.position(ctx, tx, s.sql.lock, label); err != nil || found {
		return mark, found, err
	}
	// A row that is newer than the snapshot is not seen, but cannot be added either: Postgres
	// refuses that. The row is taken back, because it would be a position.
	added, err := exec(ctx, tx, s.sql.add, label, Text(offset.ID{}))
	if err == nil && added == 0 {
		err = errors.New("the position was added by another transaction; the entry has to be tried again")
	}
	if err == nil {
		_, err = exec(ctx, tx, s.sql.remove, label)
	}
	return offset.ID{}, false, err
}

// Compact moves the position of label to mark, never back, and deletes the rows of the inbox that
// it has passed. It returns how many those were. Everything up to mark has to be done. In log mode
// [Store.Save] does so, and Compact is for group mode. The call may be repeated.
func (s *Store) Compact(ctx context.Context, label, mark string) (deleted int64, err error) {
	next, err := check(label, mark)
	if err == nil {
		// The position is committed first: a row that is missing has to imply the position.
		_, err = s.save(ctx, label, next)
	}
	if err == nil {
		deleted, err = exec(ctx, s.db, s.sql.compact, label, Text(next))
	}
	if err != nil {
		return 0, fmt.Errorf("sqlstore: compact the inbox of label %.80q: %w", label, err)
	}
	return deleted, nil
}
