package sqltest_test

import (
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"millrace/offset/sqlstore"
)

// server is a database server that the tests have started, in a folder of its own.
type server struct {
	dialect sqlstore.Dialect
	folder  string
	port    int
	command func() *exec.Cmd
	process *exec.Cmd
	gone    chan struct{}
}

// binary finds a program of a server. Without it the test is skipped, and fails in CI.
func binary(t testing.TB, name string, folders ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return path
		}
	}
	for _, folder := range folders {
		found, _ := filepath.Glob(filepath.Join(folder, name))
		slices.Sort(found)
		if len(found) > 0 {
			return found[len(found)-1]
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("there is no %s: install the server", name)
	}
	t.Skipf("there is no %s on this machine", name)
	return ""
}

const postgresFolder = "/usr/lib/postgresql/*/bin"

func tempFolder(t testing.TB) string {
	t.Helper()
	// Not below the folder of the test, into which another user may not look.
	folder, err := os.MkdirTemp("", "millrace-sql")
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

// newPostgres makes a server of Postgres that has not been started, with further arguments.
func newPostgres(t testing.TB, args ...string) *server {
	t.Helper()
	initdb, postgres := binary(t, "initdb", postgresFolder), binary(t, "postgres", postgresFolder)
	s := &server{dialect: sqlstore.Postgres, folder: tempFolder(t), port: freePort(t)}
	data := filepath.Join(s.folder, "data")
	install := exec.Command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	asAnother(t, install, s.folder)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.command = func() *exec.Cmd {
		cmd := exec.Command(postgres, append([]string{
			"-D", data, "-p", fmt.Sprint(s.port), "-h", "127.0.0.1", "-k", s.folder,
			"-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=200", "-c", "deadlock_timeout=200ms",
		}, args...)...)
		asAnother(t, cmd, s.folder)
		return cmd
	}
	return s
}

// newMariaDB makes a server of MariaDB that has not been started.
func newMariaDB(t testing.TB) *server {
	t.Helper()
	install, mariadbd := binary(t, "mariadb-install-db", "/usr/bin"), binary(t, "mariadbd", "/usr/sbin")
	s := &server{dialect: sqlstore.MySQL, folder: tempFolder(t), port: freePort(t)}
	data := filepath.Join(s.folder, "data")
	user := "--user=" + os.Getenv("USER")
	if os.Getuid() == 0 {
		user = "--user=root"
	}
	if out, err := exec.Command(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db", user).CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	s.command = func() *exec.Cmd {
		return exec.Command(mariadbd, "--no-defaults", "--datadir="+data, fmt.Sprintf("--port=%d", s.port), "--bind-address=127.0.0.1",
			"--socket="+filepath.Join(s.folder, "socket"), "--pid-file="+filepath.Join(s.folder, "pid"), "--innodb-flush-log-at-trx-commit=2", user)
	}
	return s
}

// start starts the server, and waits until it answers.
func (s *server) start(t testing.TB) {
	t.Helper()
	cmd, gone := s.command(), make(chan struct{})
	dieWithParent(cmd)
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	started := make(chan error)
	go func() {
		defer close(gone)
		defer func() { _ = log.Close() }()
		runtime.LockOSThread() // the server dies with the thread that has started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	s.process, s.gone = cmd, gone
	db := s.open(t, "")
	defer func() { _ = db.Close() }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err = db.Ping(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(s.folder, "log"))
			t.Fatalf("the server does not answer: %v\n%s", err, text)
		}
	}
}

// kill ends the server as kill -9 does. Postgres has many processes: it is told to end all of them at
// once, and recovers at the next start as after a crash.
func (s *server) kill() {
	if s.process == nil {
		return
	}
	if s.dialect == sqlstore.Postgres {
		_ = quit(s.process.Process)
		select {
		case <-s.gone:
			return
		case <-time.After(10 * time.Second): // it cannot hear, or is no such system
		}
	}
	_ = s.process.Process.Kill()
	<-s.gone
}

func (s *server) dsn(database string) (driver, dsn string) {
	if s.dialect == sqlstore.Postgres {
		if database == "" {
			database = "postgres"
		}
		return "pgx", fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
	}
	return "mysql", fmt.Sprintf("root@tcp(127.0.0.1:%d)/%s", s.port, database)
}

func (s *server) open(t testing.TB, database string) *sql.DB {
	t.Helper()
	driver, dsn := s.dsn(database)
	return open(t, driver, dsn)
}

func open(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// shared are the servers that most tests use together; TestMain ends them.
var (
	sharedMu sync.Mutex
	shared   = make(map[sqlstore.Dialect]*server)
	numbers  atomic.Int64
)

func sharedServer(t testing.TB, dialect sqlstore.Dialect) *server {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if s := shared[dialect]; s != nil {
		return s
	}
	s := newOf(t, dialect)
	s.start(t)
	shared[dialect] = s
	return s
}

func newOf(t testing.TB, dialect sqlstore.Dialect) *server {
	if dialect == sqlstore.Postgres {
		return newPostgres(t)
	}
	return newMariaDB(t)
}

func stopShared() {
	for _, s := range shared {
		s.kill()
		_ = os.RemoveAll(s.folder)
	}
}

// database is an empty database with the tables of a store.
type database struct {
	*sql.DB
	store       *sqlstore.Store
	driver, dsn string
}

// newDatabase makes a database of its own for the test, on the server that tests share.
func newDatabase(t testing.TB, dialect sqlstore.Dialect) *database {
	t.Helper()
	if dialect != sqlstore.SQLite {
		return sharedServer(t, dialect).newDatabase(t)
	}
	dsn := "file:" + filepath.Join(t.TempDir(), "db") + "?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
	return databaseAt(t, dialect, "sqlite", dsn)
}

func (s *server) newDatabase(t testing.TB) *database {
	t.Helper()
	name := fmt.Sprintf("test%d", numbers.Add(1))
	if _, err := s.open(t, "").Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	driver, dsn := s.dsn(name)
	return databaseAt(t, s.dialect, driver, dsn)
}

func databaseAt(t testing.TB, dialect sqlstore.Dialect, driver, dsn string) *database {
	t.Helper()
	db := open(t, driver, dsn)
	store, err := sqlstore.New(db, dialect)
	if err == nil {
		err = store.CreateTables(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return &database{DB: db, store: store, driver: driver, dsn: dsn}
}

var dialects = []sqlstore.Dialect{sqlstore.Postgres, sqlstore.MySQL, sqlstore.SQLite}

// onEach runs a test on each database.
func onEach(t *testing.T, test func(t *testing.T, db *database)) {
	t.Helper()
	for _, dialect := range dialects {
		t.Run(dialect.String(), func(t *testing.T) {
			t.Parallel()
			test(t, newDatabase(t, dialect))
		})
	}
}

// exec executes statements of a test, with ? for arguments.
func (db *database) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(db.bind(query), args...); err != nil {
		t.Fatal(err)
	}
}

func (db *database) bind(query string) string {
	if db.store.Dialect() != sqlstore.Postgres {
		return query
	}
	for n := 1; strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", fmt.Sprintf("$%d", n), 1)
	}
	return query
}

// number returns the one number that a query finds.
func (db *database) number(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRow(db.bind(query), args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
