package streamtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server that belongs to one test. Its methods fail the test
// when something goes wrong, and are for the test's own goroutine.
type Redis struct {
	// Addr is the server's address, an IP literal and a port. It stays the same
	// over restarts.
	Addr string

	t    testing.TB
	dir  string
	args []string
	cmd  *exec.Cmd
	gone chan struct{} // closed when cmd has ended
}

// StartRedis starts a redis-server for the test, with the given arguments
// added to its command line, and waits until it answers. It writes every
// command to its append-only file before it answers, so that a kill loses
// nothing that was acknowledged.
//
// Where no redis-server is on the PATH, the test is skipped, but fails if the
// environment says CI=true: there, a test that does not run is a defect.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no redis-server on the PATH, and in CI no test may be left out: install it")
		}
		t.Skip("needs a redis-server on the PATH")
	}
	r := &Redis{t: t, dir: t.TempDir(), args: args}
	t.Cleanup(r.Kill)
	// Between the look for a free port and its use another process may take it.
	var err error
	for range 5 {
		r.Addr = freeAddr(t)
		if err = r.start(); err == nil {
			return r
		}
	}
	t.Fatal(err)
	return nil
}

// Start starts the server again after a Kill, with what it had on disk.
func (r *Redis) Start() {
	r.t.Helper()
	if err := r.start(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *Redis) start() error {
	host, port, _ := net.SplitHostPort(r.Addr)
	logfile := filepath.Join(r.dir, "redis.log")
	args := append([]string{
		"--bind", host, "--port", port, "--dir", r.dir, "--logfile", logfile,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always",
	}, r.args...)
	cmd, gone := exec.Command("redis-server", args...), make(chan struct{})
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting redis-server: %w", err)
	}
	go func() {
		_ = cmd.Wait() // "signal: killed" is how it is meant to end
		close(gone)
	}()
	r.cmd, r.gone = cmd, gone
	if err := r.awaitAnswer(); err != nil {
		r.Kill()
		log, _ := os.ReadFile(logfile)
		return fmt.Errorf("redis-server does not answer: %w\n%s", err, log)
	}
	return nil
}

// awaitAnswer returns when the server answers at all, be it with a request for
// a password.
func (r *Redis) awaitAnswer() error {
	client := redis.NewClient(&redis.Options{Addr: r.Addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := client.Ping(ctx).Err()
		var answer redis.Error
		if err == nil || (errors.As(err, &answer) && !strings.HasPrefix(answer.Error(), "LOADING")) {
			return nil
		}
		select {
		case <-tick.C:
		case <-r.gone:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// Kill ends the server as kill -9 does, and waits until it is gone.
func (r *Redis) Kill() {
	if r.cmd == nil {
		return
	}
	_ = r.cmd.Process.Kill()
	<-r.gone
	r.cmd = nil
}

// Empty removes what the server has on disk, so that the next Start finds
// nothing. The server must have been killed.
func (r *Redis) Empty() {
	r.t.Helper()
	if r.cmd != nil {
		r.t.Fatal("kill the server before its data is removed")
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "appendonlydir")); err != nil {
		r.t.Fatal(err)
	}
}

// Client returns a client of the server that is closed when the test is over.
func (r *Redis) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: r.Addr})
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}

// freeAddr finds a free port that leaves room for a cluster's bus, which is
// 10000 above.
func freeAddr(t testing.TB) string {
	t.Helper()
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := listener.Addr().(*net.TCPAddr)
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if addr.Port < 55000 {
			return addr.String()
		}
	}
}
