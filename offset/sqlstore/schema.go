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
CREATE TABLE IF NOT EXISTS {}outbox (
	id    BIGSERIAL NOT NULL,
	topic TEXT COLLATE "C" NOT NULL,
	token TEXT COLLATE "C" NOT NULL,
	pairs BYTEA NOT NULL,
	at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
	PRIMARY KEY (topic, id)
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
CREATE TABLE IF NOT EXISTS {}outbox (
	id    BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
	topic VARBINARY(512) NOT NULL,
	token VARBINARY(64) NOT NULL,
	pairs LONGBLOB NOT NULL,
	at    TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
	PRIMARY KEY (topic, id),
	KEY (id)
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
CREATE TABLE IF NOT EXISTS {}outbox (
	id    INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	topic TEXT NOT NULL,
	token TEXT NOT NULL,
	pairs BLOB NOT NULL,
	at    TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
	UNIQUE (topic, id)
);
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
