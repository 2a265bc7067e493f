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

// Redis is a redis-server that belongs to one test. A restart is Kill and Start,
// an empty one Kill, Empty and Start. Its methods fail the test when something
// goes wrong, and are for the test's own goroutine.
type Redis struct {
	// Addr is the server's address, an IP literal and a port. It stays the same
	// over restarts.
	Addr string

	t    testing.TB
	dir  string
	args []string
	proc *process // nil when it was killed
}

// storing are the arguments of a server that is to lose nothing by a kill.
var storing = []string{"--save", "", "--appendonly", "yes", "--appendfsync", "always"}

// StartRedis starts a redis-server for the test, with the given arguments
// added to its command line, and waits until it answers. It writes every
// command to its append-only file before it answers, so that a kill loses
// nothing that was acknowledged. When the test is over the server is killed; on
// Linux also when the test's process is.
//
// Where no redis-server is on the PATH, the test is skipped, but fails if the
// environment says CI=true: there, a test that does not run is a defect.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	return startServer(t, "", append(storing[:len(storing):len(storing)], args...)...)
}

// startServer starts a server of any kind, with the given configuration file
// and arguments.
func startServer(t testing.TB, config string, args ...string) *Redis {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no redis-server on the PATH, and in CI no test may be left out: install it")
		}
		t.Skip("needs a redis-server on the PATH")
	}
	r := &Redis{t: t, dir: t.TempDir(), args: args}
	// A file, even if there is nothing in it: sentinels write to their own, and
	// tell the servers that they rearrange to do the same.
	if err := os.WriteFile(r.file("redis.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
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

func (r *Redis) file(name string) string { return filepath.Join(r.dir, name) }

// Start starts the server again after a Kill, with what it had on disk, and
// waits until it has loaded that and answers.
func (r *Redis) Start() {
	r.t.Helper()
	if r.proc != nil {
		r.t.Fatal("kill the server before it is started again")
	}
	if err := r.start(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *Redis) start() error {
	host, port, _ := net.SplitHostPort(r.Addr)
	args := append([]string{
		r.file("redis.conf"), "--bind", host, "--port", port, "--dir", r.dir, "--logfile", r.file("redis.log"),
	}, r.args...)
	proc, err := startProcess(exec.Command("redis-server", args...))
	if err != nil {
		return fmt.Errorf("starting redis-server: %w", err)
	}
	r.proc = proc
	if err := r.awaitAnswer(); err != nil {
		r.Kill()
		log, _ := os.ReadFile(r.file("redis.log"))
		return fmt.Errorf("redis-server does not answer: %w\n%s", err, log)
	}
	return nil
}

// awaitAnswer returns when the server answers at all, be it with a request for
// a password.
func (r *Redis) awaitAnswer() error {
	client := redis.NewClient(&redis.Options{Addr: r.Addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), awaitTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ping(ctx, client)
		var answer redis.Error
		if err == nil || (errors.As(err, &answer) && !strings.HasPrefix(answer.Error(), "LOADING")) {
			return r.checkIdentity(client.Info(ctx, "server").Val())
		}
		select {
		case <-tick.C:
		case <-r.proc.gone:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// ping looks whether there is anybody before it takes the client for the
// question, which would write a line to the log for each attempt.
func ping(ctx context.Context, client *redis.Client) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", client.Options().Addr)
	if err != nil {
		return err
	}
	_ = conn.Close()
	return client.Ping(ctx).Err()
}

// checkIdentity looks whether it is this server that answered, and not one of
// another test that got the port while this one was still being started. A
// server that wants a password does not say.
func (r *Redis) checkIdentity(info string) error {
	if info == "" || strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", r.proc.cmd.Process.Pid)) {
		return nil
	}
	return errors.New("the port belongs to another server")
}

// Kill ends the server as kill -9 does, frozen or not, and waits until it is
// gone. A server that was killed already stays that.
func (r *Redis) Kill() {
	if r.proc == nil {
		return
	}
	r.proc.kill()
	r.proc = nil
}

// Empty removes what the server has on disk, so that the next Start finds
// nothing. The server must have been killed. A node of a cluster keeps its name
// and its slots.
func (r *Redis) Empty() {
	r.t.Helper()
	if r.proc != nil {
		r.t.Fatal("kill the server before its data is removed")
	}
	if err := os.RemoveAll(r.file("appendonlydir")); err != nil {
		r.t.Fatal(err)
	}
}

// Freeze halts the server as SIGSTOP does: its connections stay open and new
// ones are taken, but nothing is answered until Thaw. It fails the test on
// Windows.
func (r *Redis) Freeze() {
	r.t.Helper()
	if r.proc == nil {
		r.t.Fatal("a server that was killed cannot be frozen")
	}
	if err := r.proc.freeze(); err != nil {
		r.t.Fatalf("freezing the redis-server: %v", err)
	}
}

// Thaw lets a frozen server go on, as SIGCONT does. It answers what it was
// asked in the meantime.
func (r *Redis) Thaw() {
	r.t.Helper()
	if r.proc == nil {
		r.t.Fatal("a server that was killed cannot be thawed; start it")
	}
	if err := r.proc.thaw(); err != nil {
		r.t.Fatalf("thawing the redis-server: %v", err)
	}
}

// Client returns a client of the server that is closed when the test is over.
func (r *Redis) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: r.Addr})
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}

// answers reports whether the server runs and is not frozen.
func (r *Redis) answers() bool { return r.proc != nil && !r.proc.frozen }

// ask sends the server one command on a connection of its own: a kit that
// waits for a topology must not be led astray by a pool with old connections.
func (r *Redis) ask(args ...any) (any, error) {
	client := redis.NewClient(&redis.Options{
		Addr: r.Addr, MaxRetries: -1, DialerRetries: 1, PoolSize: 1, Protocol: 2, DisableIdentity: true,
		ReadTimeout: 5 * time.Second,
	})
	defer func() { _ = client.Close() }()
	reply, err := client.Do(context.Background(), args...).Result()
	if err != nil {
		return nil, fmt.Errorf("%v to %s: %w", args, r.Addr, err)
	}
	return reply, nil
}

// role returns what the server says of itself: "master", "slave" or
// "sentinel"; of a slave, also whose it is and how its link to it is.
func (r *Redis) role() (role, master, link string, err error) {
	reply, err := r.ask("ROLE")
	if err != nil {
		return "", "", "", err
	}
	parts := reply.([]any)
	role = parts[0].(string)
	if role == "slave" {
		master = net.JoinHostPort(parts[1].(string), fmt.Sprint(parts[2]))
		link = parts[3].(string)
	}
	return role, master, link, nil
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
