package streamtest

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	r := &Redis{t: t, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t))), dir: t.TempDir(), args: args}
	t.Cleanup(r.Kill)
	r.Start()
	return r
}

// Start starts the server again after a Kill, with what it had on disk.
func (r *Redis) Start() {
	r.t.Helper()
	host, port, _ := net.SplitHostPort(r.Addr)
	logfile := filepath.Join(r.dir, "redis.log")
	args := append([]string{
		"--bind", host, "--port", port, "--dir", r.dir, "--logfile", logfile,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always",
	}, r.args...)
	r.cmd = exec.Command("redis-server", args...)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatalf("starting redis-server: %v", err)
	}
	r.gone = make(chan struct{})
	go func(cmd *exec.Cmd, gone chan<- struct{}) {
		_ = cmd.Wait() // "signal: killed" is how it is meant to end
		close(gone)
	}(r.cmd, r.gone)
	r.awaitAnswer(logfile)
}

// awaitAnswer returns when the server answers at all: LOADING or a request for
// a password is an answer too.
func (r *Redis) awaitAnswer(logfile string) {
	r.t.Helper()
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
			return
		}
		select {
		case <-tick.C:
			continue
		case <-r.gone:
		case <-ctx.Done():
		}
		log, _ := os.ReadFile(logfile)
		r.t.Fatalf("redis-server does not answer: %v\n%s", err, log)
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

func freePort(t testing.TB) int {
	t.Helper()
	// Another process may take the port between this and the server's start;
	// ports are handed out in turn, so that is rare.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}
