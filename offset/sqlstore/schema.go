package sqlstore

import (
	"context"
	"fmt"
	"strings"
)

// The tables, by their dialects. Texts are compared byte by byte: a label with another case, or
// with a space behind it, is another label. A collation of MySQL ignores one of the two, so that
// its labels are bytes.
var schemas = map[Dialect]string{
	Postgres: `CREATE TABLE IF NOT EXISTS {}position (
	label TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	id    TEXT COLLATE "C" NOT NULL
);
CREATE TABLE IF NOT EXISTS {}inbox (
	label TEXT COLLATE "C" NOT NULL,
	id    TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (label, id)
);
`,
	MySQL: `CREATE TABLE IF NOT EXISTS {}position (
	label VARBINARY(512) NOT NULL PRIMARY KEY,
	id    VARBINARY(64)  NOT NULL
) ENGINE = InnoDB;
CREATE TABLE IF NOT EXISTS {}inbox (
	label VARBINARY(512) NOT NULL,
	id    VARBINARY(64)  NOT NULL,
	PRIMARY KEY (label, id)
) ENGINE = InnoDB;
`,
	SQLite: `CREATE TABLE IF NOT EXISTS {}position (
	label TEXT NOT NULL PRIMARY KEY,
	id    TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {}inbox (
	label TEXT NOT NULL,
	id    TEXT NOT NULL,
	PRIMARY KEY (label, id)
) WITHOUT ROWID;
`,
}

// Schema returns the statements that make the tables, each with a semicolon at its end. Tables
// that are there stay as they are.
func (s *Store) Schema() string { return strings.ReplaceAll(schemas[s.dialect], "{}", s.prefix) }

// CreateTables executes [Store.Schema]. It may be called at each start of a program whose user may
// create tables. Programs that create tables at the same moment may get an error of the database,
// and call it again.
func (s *Store) CreateTables(ctx context.Context) error {
	// A driver may refuse several statements at once.
	for statement := range strings.SplitSeq(s.Schema(), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("sqlstore: creating the tables %s...: %w", s.prefix, err)
		}
	}
	return nil
}
