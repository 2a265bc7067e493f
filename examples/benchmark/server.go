package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// server is a redis-server that ends with the program. It keeps nothing on disk:
// what the disk costs is the same for everyone, and would hide what is compared.
type server struct {
	url  string
	dir  string
	cmd  *exec.Cmd
	gone chan struct{} // closed when cmd has ended
}

func startServer(ctx context.Context) (*server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("install redis-server, or give the URL of one with -redis: %w", err)
	}
	var err error
	// Between the look for a free port and its use another process may take it.
	for range 5 {
		var s *server
		if s, err = tryServer(ctx); err == nil || ctx.Err() != nil {
			return s, err
		}
	}
	return nil, err
}

func tryServer(ctx context.Context) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "millrace-benchmark-")
	if err != nil {
		return nil, err
	}
	logfile := filepath.Join(dir, "redis.log")
	s := &server{url: "redis://" + addr, dir: dir, gone: make(chan struct{})}
	// Not with CommandContext, and in a process group of its own, which the terminal's
	// Ctrl-C does not reach: what is at work stops before the server does.
	s.cmd = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port,
		"--dir", dir, "--logfile", logfile, "--save", "", "--appendonly", "no")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	go func() {
		_ = s.cmd.Wait() // "signal: killed" is how it is meant to end
		close(s.gone)
	}()
	if err := s.awaitAnswer(ctx, addr); err != nil {
		text, _ := os.ReadFile(logfile)
		s.stop()
		return nil, fmt.Errorf("redis-server does not answer: %w\n%s", err, text)
	}
	return s, nil
}

// awaitAnswer returns when the server accepts connections. It has nothing to load, so
// that it answers from then on.
func (s *server) awaitAnswer(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-s.gone:
			return err
		case <-ctx.Done():
			return err
		}
	}
}

// stop kills the server, and waits until it is gone.
func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	<-s.gone
	_ = os.RemoveAll(s.dir)
}
