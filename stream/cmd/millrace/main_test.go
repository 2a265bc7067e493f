package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
)

// asMain is a variable that makes the test's binary the program.
const asMain = "MILLRACE_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program returns the program as a process of its own.
func program(t *testing.T, server *streamtest.Redis, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asMain+"=1", "MILLRACE_URL=redis://"+server.Addr)
	return cmd
}

// TestHeadEndsTheProgram: its output is a pipe that is closed after a line. It ends quietly.
func TestHeadEndsTheProgram(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	if _, err := server.Client().Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for range 5000 {
			p.Do(t.Context(), "xadd", "orders", "*", "field", strings.Repeat("x", 100))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, server, "export", "orders")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"id":"`) {
		t.Errorf("the first line is %q, %v", line, err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("it ends with %v, and says %q", err, &stderr)
	}
}

// TestSignals: each of Ctrl-C and a TERM ends it with 130.
func TestSignals(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := program(t, server, "tail", "orders")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil || !strings.HasPrefix(line, "Waiting for entries of orders") {
			t.Fatalf("it says %q, %v", line, err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("after %v it ends with %v", signal, err)
		}
	}
}

// TestProgram runs it as people do.
func TestProgram(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	out, err := program(t, server, "publish", "orders", "user_id=42").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err = program(t, server, "ls").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "nobody reads it") {
		t.Errorf("%v: %s", err, out)
	}
	out, err = program(t, server, "nope").CombinedOutput()
	if got := fmt.Sprint(err); got != "exit status 2" {
		t.Errorf("%v: %s", err, out)
	}
}
