package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// process is a child: this very program once more, so that the memory and the CPU
// time of the benchmark itself do not count.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

// startChild starts a child that ends with ctx at the latest.
func startChild(ctx context.Context, config childConfig) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	return &process{cmd: cmd, in: in, answers: json.NewDecoder(out)}, nil
}

// command gives the child a command, and returns its answer.
func (p *process) command(format string, args ...any) (answer state, err error) {
	command := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		return state{}, fmt.Errorf("child: %s: %w", command, err)
	}
	if err := p.answers.Decode(&answer); err != nil {
		return state{}, fmt.Errorf("child: %s: no answer: %w", command, err)
	}
	return answer, nil
}

// awaitHandled returns when the child has handled that many entries.
func (p *process) awaitHandled(ctx context.Context, n int) error {
	deadline := time.Now().Add(stallLimit)
	for {
		answer, err := p.command("sample")
		if err != nil || answer.Handled == int64(n) {
			return err
		}
		if answer.Handled > int64(n) || time.Now().After(deadline) {
			return fmt.Errorf("child: %d entries were handled, want %d", answer.Handled, n)
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// stop lets the child settle and end, and returns what it ended with.
func (p *process) stop() error {
	if err := p.in.Close(); err != nil {
		return err
	}
	// Run returns soon after its cancel; a child that does not would hang the program.
	kill := time.AfterFunc(stallLimit, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("child: %w", err)
	}
	return nil
}

// wait returns after that time, or earlier with an error when ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
