// Command bank moves money between accounts in an SQL database, and publishes a receipt for each
// transfer. Its consumer is killed with kill -9 again and again in the middle, and in the end each
// balance is right, and there is one receipt for each transfer.
//
//	go run .          with streamsql.Once and an outbox
//	go run . -naive   with a handler that has a transaction of its own, and publishes by itself
//
// It needs no server: the database is SQLite in a temporary folder, and without -redis a Redis in
// memory comes along.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"millrace/stream/streamtest"
)

// plan is what the program and the processes that it starts have in common.
type plan struct {
	redis, key, file string
	naive            bool
}

func main() {
	var p plan
	flag.StringVar(&p.redis, "redis", "", "`URL` of a Redis to use, such as redis://127.0.0.1:6379; without it one in memory")
	flag.BoolVar(&p.naive, "naive", false, "handle transfers without streamsql.Once, and see what comes of it")
	transfers := flag.Int("transfers", 1500, "how many transfers to make")
	kills := flag.Int("kills", 5, "how often to kill the consumer")
	flag.StringVar(&p.key, "stream", "", "stream of the consumer (used by the program itself)")
	flag.StringVar(&p.file, "database", "", "database of the consumer (used by the program itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if p.file != "" {
		err = consume(ctx, p)
	} else {
		err = run(ctx, p, *transfers, *kills, os.Stdout)
	}
	if err != nil {
		log.Fatal("bank: ", err)
	}
}

// accounts is how many there are; each has start cents in the beginning.
const (
	accounts = 20
	start    = 100_000
)

// run publishes transfers, has a consumer make them that is killed so many times, and checks the books.
func run(ctx context.Context, p plan, transfers, kills int, out io.Writer) error {
	if p.redis == "" {
		server, err := miniredis.Run()
		if err != nil {
			return err
		}
		defer server.Close()
		streamtest.CountAsRedis(server)
		p.redis = "redis://" + server.Addr()
	}
	client, err := connect(p.redis)
	if err != nil {
		return err
	}
	defer client.Close()
	folder, err := os.MkdirTemp("", "bank")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	p.file, p.key = filepath.Join(folder, "bank.db"), fmt.Sprintf("millrace-example:%08x:transfers", rand.Uint32())
	defer client.Del(context.WithoutCancel(ctx), p.key, receiptsOf(p.key), p.key+":offsets")

	db, err := openBank(ctx, p.file)
	if err != nil {
		return err
	}
	defer db.Close()
	want, err := publish(ctx, client, p.key, transfers)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d transfers between %d accounts\n", transfers, accounts)
	made := func() (n int, err error) {
		err = db.QueryRowContext(ctx, "SELECT count(DISTINCT id) FROM transfers").Scan(&n)
		return n, err
	}
	for kill := 1; kill <= kills+1; kill++ {
		consumer, err := startConsumer(p)
		if err != nil {
			return err
		}
		n, err := awaitCount(ctx, made, transfers*kill/(kills+1))
		if kill > kills && err == nil { // the last one is let live until all is published
			_, err = awaitCount(ctx, func() (int, error) { return receiptsIn(ctx, client, p.key) }, transfers)
		}
		_ = consumer.Process.Kill()
		_ = consumer.Wait()
		if err != nil {
			return err
		}
		if kill <= kills {
			fmt.Fprintf(out, "  kill -9 after %d transfers\n", n)
		}
	}
	return check(ctx, db, client, p.key, transfers, want, out)
}

// startConsumer starts this program once more, as the consumer.
func startConsumer(p plan) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-redis", p.redis, "-stream", p.key, "-database", p.file, fmt.Sprintf("-naive=%t", p.naive))
	cmd.Stderr = os.Stderr
	// Its end of the pipe is closed when this process ends, however it does.
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return cmd, cmd.Start()
}

// consume is the consumer, until it is killed.
func consume(ctx context.Context, p plan) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	client, err := connect(p.redis)
	if err != nil {
		return err
	}
	defer client.Close()
	db, err := openBank(ctx, p.file)
	if err != nil {
		return err
	}
	defer db.Close()
	slog.SetLogLoggerLevel(slog.LevelError)
	make := makeOnce
	if p.naive {
		make = makeNaively
	}
	runner, err := make(client, p.key, db)
	if err != nil {
		return err
	}
	return runner.Run(ctx)
}

func connect(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("-redis: give a URL such as redis://127.0.0.1:6379") // err may hold the password
	}
	return redis.NewClient(options), nil
}

// openBank opens the database, and makes its tables unless they are there.
func openBank(ctx context.Context, file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		"CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)",
		"CREATE TABLE IF NOT EXISTS transfers (id INTEGER NOT NULL)",
		fmt.Sprintf("WITH RECURSIVE n(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n WHERE id < %d) "+
			"INSERT INTO accounts (id, balance) SELECT id, %d FROM n WHERE true ON CONFLICT DO NOTHING", accounts-1, start),
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			_ = db.Close()
			return nil, err
		}
	}
	return db, nil
}

// awaitCount waits until there are at least so many.
func awaitCount(ctx context.Context, count func() (int, error), least int) (n int, err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if n, err = count(); n >= least || err != nil {
			return n, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}
