package sqltest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/offset"
	"millrace/offset/offsettest"
	"millrace/offset/sqlstore"
	"millrace/stream/streamtest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		offsettest.Run(t, offsettest.Harness{
			New: func(t *testing.T) offset.Store {
				db.exec(t, "DELETE FROM millrace_position")
				return db.store
			},
			Reopen: func(t *testing.T, _ offset.Store) offset.Store {
				return databaseAt(t, db.store.Dialect(), db.driver, db.dsn).store
			},
			Corrupt: func(t *testing.T, _ offset.Store, label string) {
				db.exec(t, "UPDATE millrace_position SET id = 'no ID' WHERE label = ?", label)
			},
		})
	})
}

func begin(t testing.TB, db *database, level sql.IsolationLevel) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func commit(t testing.TB, tx *sql.Tx) {
	t.Helper()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestPassMovesThePositionOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		for _, step := range []struct {
			id    string
			moved bool
		}{{"5-5", true}, {"5-5", false}, {"5-10", true}, {"5-9", false}, {"10-0", true}} {
			tx := begin(t, db, sql.LevelDefault)
			moved, err := db.store.Pass(t.Context(), tx, "label", step.id)
			if err != nil || moved != step.moved {
				t.Fatalf("Pass(%s) = %t, %v; want %t", step.id, moved, err, step.moved)
			}
			commit(t, tx)
		}
		tx := begin(t, db, sql.LevelDefault)
		if moved, err := db.store.Pass(t.Context(), tx, "label", "11-0"); err != nil || !moved {
			t.Fatal(moved, err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if id, _, err := db.store.Load(t.Context(), "label"); err != nil || id != "10-0" {
			t.Fatalf("after a rollback the position is %s, %v; want 10-0", id, err)
		}
		// The positions that Pass has written are no other consumer's.
		told := false
		ctx := offset.WithFound(t.Context(), func(string) { told = true })
		if err := db.store.Save(ctx, "label", "10-0"); err != nil || told {
			t.Fatalf("Save = %v, told of another consumer: %t; want nil, and nothing told", err, told)
		}
	})
}

func TestPassRefusesACorruptPosition(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		for _, text := range []string{"no ID", "", "5-5", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"} {
			db.exec(t, "DELETE FROM millrace_position")
			db.exec(t, "INSERT INTO millrace_position (label, id) VALUES ('label', ?)", text)
			tx := begin(t, db, sql.LevelDefault)
			if moved, err := db.store.Pass(t.Context(), tx, "label", "9-0"); !errors.Is(err, offset.ErrCorrupt) || moved {
				t.Fatalf("Pass over %q = %t, %v; want offset.ErrCorrupt", text, moved, err)
			}
			_ = tx.Rollback()
			if n := db.number(t, "SELECT count(*) FROM millrace_position WHERE id = ?", text); n != 1 {
				t.Fatalf("the corrupt position %q was overwritten", text)
			}
		}
	})
}

func enter(t testing.TB, db *database, tx *sql.Tx, ids ...string) string {
	t.Helper()
	isNew, err := db.store.Enter(t.Context(), tx, "label", ids...)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(isNew)
}

func TestEnterFindsWhatWasEntered(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		var many, want []string
		for i := range 700 {
			many, want = append(many, fmt.Sprintf("%d-0", 1000-i)), append(want, "true")
		}
		for _, step := range []struct {
			ids  []string
			want string
		}{
			{[]string{"1-0", "2-0"}, "[true true]"},
			{[]string{"2-0"}, "[false]"},
			{[]string{"3-0", "2-0", "10-0"}, "[true false true]"},
			{many, "[" + strings.Join(want, " ") + "]"},
		} {
			tx := begin(t, db, sql.LevelDefault)
			if got := enter(t, db, tx, step.ids...); got != step.want {
				t.Fatalf("entering %v: %s; want %s", step.ids, got, step.want)
			}
			commit(t, tx)
		}
		if deleted, err := db.store.Compact(t.Context(), "label", "10-0"); err != nil || deleted != 4 {
			t.Fatalf("Compact = %d, %v; want 4 rows deleted", deleted, err)
		}
		tx := begin(t, db, sql.LevelDefault)
		if got := enter(t, db, tx, "3-0", "10-0", "11-0"); got != "[false false true]" {
			t.Fatalf("below the position, and above: %s", got)
		}
		_ = tx.Rollback()
		if err := db.store.Save(t.Context(), "label", "500-0"); err != nil {
			t.Fatal(err)
		}
		if n := db.number(t, "SELECT count(*) FROM millrace_inbox"); n != 500 {
			t.Fatalf("%d rows are left in the inbox after a Save; want 500", n)
		}
		if err := db.store.Reset(t.Context(), "label", "2-0"); err != nil {
			t.Fatal(err)
		}
		tx = begin(t, db, sql.LevelDefault)
		if got := enter(t, db, tx, "2-0", "3-0", "800-0"); got != "[false true true]" {
			t.Fatalf("after a reset: %s", got)
		}
		_ = tx.Rollback()
	})
}

// A zombie takes its snapshot, its entry is handled by another consumer, passed and deleted from
// the inbox, and then the zombie enters it. At each isolation level it must not be new.
func TestCompactionRace(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		if db.store.Dialect() == sqlstore.SQLite {
			t.Skip("SQLite has one writer at a time, and a write is the first statement of a transaction")
		}
		for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
			for _, first := range []bool{true, false} {
				raceCompaction(t, db, level, first)
			}
		}
	})
}

// raceCompaction runs the race; first is a label that has no position when the zombie begins.
func raceCompaction(t *testing.T, db *database, level sql.IsolationLevel, first bool) {
	t.Helper()
	db.exec(t, "DELETE FROM millrace_position")
	db.exec(t, "DELETE FROM millrace_inbox")
	if !first {
		if _, err := db.store.Compact(t.Context(), "label", "1-0"); err != nil {
			t.Fatal(err)
		}
	}
	zombie := begin(t, db, level)
	if db.store.Dialect() == sqlstore.Postgres {
		if _, err := zombie.Exec("SELECT 1"); err != nil { // takes the snapshot
			t.Fatal(err)
		}
	}
	owner := begin(t, db, level)
	if got := enter(t, db, owner, "5-0"); got != "[true]" {
		t.Fatal(got)
	}
	commit(t, owner)
	if deleted, err := db.store.Compact(t.Context(), "label", "5-0"); err != nil || deleted != 1 {
		t.Fatalf("Compact = %d, %v", deleted, err)
	}
	isNew, err := db.store.Enter(t.Context(), zombie, "label", "5-0")
	if err == nil && isNew[0] {
		t.Errorf("%v, first %t: an entry that was handled and compacted is new", level, first)
	}
	_ = zombie.Rollback()
	if n := db.number(t, "SELECT count(*) FROM millrace_position"); n != 1 {
		t.Errorf("%v, first %t: there are %d positions; want 1", level, first, n)
	}
}

// The zombie waits in its INSERT for a transaction that deletes the row, together with the move of
// the position: whatever it has read before that is old. At each isolation level the entry must not
// be new.
func TestCompactionBetweenTheSteps(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, sqlstore.Postgres)
	for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
		db.exec(t, "DELETE FROM millrace_position")
		db.exec(t, "DELETE FROM millrace_inbox")
		if _, err := db.store.Compact(t.Context(), "label", "1-0"); err != nil {
			t.Fatal(err)
		}
		owner := begin(t, db, level)
		if got := enter(t, db, owner, "5-0"); got != "[true]" {
			t.Fatal(got)
		}
		commit(t, owner)
		compaction := begin(t, db, sql.LevelDefault)
		if _, err := compaction.Exec("DELETE FROM millrace_inbox"); err != nil {
			t.Fatal(err)
		}
		if moved, err := db.store.Pass(t.Context(), compaction, "label", "5-0"); err != nil || !moved {
			t.Fatal(moved, err)
		}
		zombie := begin(t, db, level)
		result := make(chan string, 1)
		go func() {
			isNew, err := db.store.Enter(context.WithoutCancel(t.Context()), zombie, "label", "5-0")
			result <- fmt.Sprint(err == nil && isNew[0])
		}()
		streamtest.Await(t, "the zombie to wait for a lock", func() bool {
			return db.number(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 1
		})
		commit(t, compaction)
		if got := <-result; got != "false" {
			t.Errorf("%v: an entry that was handled and compacted is new", level)
		}
		_ = zombie.Rollback()
	}
}

// While the first position of a label is missing, a transaction above READ COMMITTED leaves none
// behind: it would be an offset.
func TestEnterLeavesNoPosition(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, sqlstore.Postgres)
	tx := begin(t, db, sql.LevelSerializable)
	if got := enter(t, db, tx, "5-0"); got != "[true]" {
		t.Fatal(got)
	}
	commit(t, tx)
	if _, found, err := db.store.Load(t.Context(), "label"); found || err != nil {
		t.Fatalf("Load = %t, %v; want nothing", found, err)
	}
}

func TestEnterWaitsForAnotherTransaction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		one := begin(t, db, sql.LevelDefault)
		if got := enter(t, db, one, "5-0"); got != "[true]" {
			t.Fatal(got)
		}
		got := make(chan string, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				got <- err.Error()
				return
			}
			defer func() { _ = tx.Rollback() }()
			isNew, err := db.store.Enter(ctx, tx, "label", "5-0")
			got <- fmt.Sprint(isNew, err)
		}()
		select {
		case early := <-got:
			t.Fatalf("the other transaction did not wait: %s", early)
		case <-time.After(50 * time.Millisecond):
		}
		commit(t, one)
		if after := <-got; after != "[false] <nil>" {
			t.Fatalf("after the commit, the other one finds %s", after)
		}
	})
}

func TestNewReportsAllProblems(t *testing.T) {
	t.Parallel()
	_, err := sqlstore.New(nil, 0, sqlstore.WithPrefix("a-b"))
	for _, want := range []string{"db is nil", "no dialect", "WithPrefix"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v; want a text with %q", err, want)
		}
	}
	db := open(t, "sqlite", ":memory:")
	for prefix, valid := range map[string]bool{"": false, "a;": false, "a.b.c": false, "app.eu_": true, "x": true, strings.Repeat("a", 51): false} {
		if _, err := sqlstore.New(db, sqlstore.SQLite, sqlstore.WithPrefix(prefix)); (err == nil) != valid {
			t.Errorf("WithPrefix(%q): %v", prefix, err)
		}
	}
}

func TestStoreRefusesLabels(t *testing.T) {
	t.Parallel()
	db := newDatabase(t, sqlstore.SQLite)
	for _, label := range []string{"\xff", "a\x00", strings.Repeat("a", 513)} {
		if err := db.store.Save(t.Context(), label, "1-0"); err == nil {
			t.Errorf("Save took the label %.20q", label)
		}
		if _, _, err := db.store.Load(t.Context(), label); err == nil {
			t.Errorf("Load took the label %.20q", label)
		}
	}
}

// A label that was used with Enter has rows above its position. Pass finds them, also the first of a
// label without a position, and a Save of a process that has written none deletes them.
func TestPassFindsRowsOfTheInbox(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		tx := begin(t, db, sql.LevelDefault)
		if got := enter(t, db, tx, "2-0", "5-0"); got != "[true true]" {
			t.Fatal(got)
		}
		commit(t, tx)
		another := databaseAt(t, db.store.Dialect(), db.driver, db.dsn).store
		for _, step := range []struct {
			id    string
			moved bool
		}{{"2-0", false}, {"3-0", true}, {"5-0", false}, {"6-0", true}} {
			tx := begin(t, db, sql.LevelDefault)
			moved, err := another.Pass(t.Context(), tx, "label", step.id)
			if err != nil || moved != step.moved {
				t.Fatalf("Pass(%s) = %t, %v; want %t", step.id, moved, err, step.moved)
			}
			commit(t, tx)
		}
		for _, step := range []struct {
			mark string
			left int
		}{{"3-0", 1}, {"6-0", 0}} {
			if err := another.Save(t.Context(), "label", step.mark); err != nil {
				t.Fatal(err)
			}
			if n := db.number(t, "SELECT count(*) FROM millrace_inbox"); n != step.left {
				t.Fatalf("%d rows are left in the inbox after a Save of %s; want %d", n, step.mark, step.left)
			}
		}
	})
}
