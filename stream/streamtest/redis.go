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

// Redis is a redis-server that belongs to one test. A restart is Kill and Start. A restart
// without data is Kill, Empty and Start. The methods of a Redis fail the test if an operation
// fails, and are for the test's own goroutine.
type Redis struct {
	// Addr is the server's address, an IP literal and a port. It stays the same
	// over restarts.
	Addr string

	t    testing.TB
	dir  string
	args []string
	proc *process // nil after a kill
}

// storing are the arguments of a server that loses nothing by a kill.
var storing = []string{"--save", "", "--appendonly", "yes", "--appendfsync", "always"}

// StartRedis starts a redis-server for the test, with the given arguments added to its command
// line, and waits until the server answers. The server writes every command to its append-only
// file before it answers the command, so that a kill loses no acknowledged write. The server is
// killed when the test is over; on Linux also when the process of the test ends.
//
// Without a redis-server on the PATH, the test is skipped. If the environment says CI=true, the
// test fails instead: in CI, a test that does not run is a defect.
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
	// The file has to exist, even if it is empty: sentinels write to their own file, and tell
	// the servers whose roles they change to do the same.
	if err := os.WriteFile(r.file("redis.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	// Another process may take the free port before the server uses it.
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

// Start starts the server again after a Kill, with its data on disk, and waits until the server
// has loaded the data and answers.
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

// awaitAnswer waits until the server answers, be it with a request for a password.
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

// ping first looks whether the port takes connections, and only then uses the client, which
// would write a line to the log for each failed attempt.
func ping(ctx context.Context, client *redis.Client) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", client.Options().Addr)
	if err != nil {
		return err
	}
	_ = conn.Close()
	return client.Ping(ctx).Err()
}

// checkIdentity returns an error if another server has answered: the server of another test can
// get the port while this server is being started. A server that wants a password does not say
// its process ID, and is not checked.
func (r *Redis) checkIdentity(info string) error {
	if info == "" || strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", r.proc.cmd.Process.Pid)) {
		return nil
	}
	return errors.New("the port belongs to another server")
}

// Kill ends the server as kill -9 does, frozen or not, and waits until its process has ended.
// After a kill, another Kill does nothing.
func (r *Redis) Kill() {
	if r.proc == nil {
		return
	}
	r.proc.kill()
	r.proc = nil
}

// Empty removes the data of the server from disk, so that the next Start finds none. The server
// must have been killed. A node of a cluster keeps its name and its slots.
func (r *Redis) Empty() {
	r.t.Helper()
	if r.proc != nil {
		r.t.Fatal("kill the server before its data is removed")
	}
	if err := os.RemoveAll(r.file("appendonlydir")); err != nil {
		r.t.Fatal(err)
	}
}

// Freeze halts the server as SIGSTOP does. Its connections stay open and new ones are taken,
// but no request is answered until Thaw. On Windows, Freeze fails the test.
func (r *Redis) Freeze() {
	r.t.Helper()
	if r.proc == nil {
		r.t.Fatal("a server that was killed cannot be frozen")
	}
	if err := r.proc.freeze(); err != nil {
		r.t.Fatalf("freezing the redis-server: %v", err)
	}
}

// Thaw lets a frozen server go on, as SIGCONT does. The server answers the requests that
// arrived in the meantime.
func (r *Redis) Thaw() {
	r.t.Helper()
	if r.proc == nil {
		r.t.Fatal("a server that was killed cannot be thawed; start it")
	}
	if err := r.proc.thaw(); err != nil {
		r.t.Fatalf("thawing the redis-server: %v", err)
	}
}

// Client returns a client of the server. The client is closed when the test is over.
func (r *Redis) Client() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: r.Addr})
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}

// answers reports whether the server runs and is not frozen.
func (r *Redis) answers() bool { return r.proc != nil && !r.proc.frozen }

// ask sends one command to the server, on a connection of its own: a wait for a topology must
// not be misled by a pool with old connections.
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

// role returns the role of the server, in the words of the server: "master", "slave" or
// "sentinel". For a slave, it also returns the address of the primary and the state of the link
// to the primary.
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

// freeAddr returns an address with a free port, low enough for the bus of a cluster, whose port
// is 10000 higher.
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
