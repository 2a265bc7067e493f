package streamtest

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Child is a process that runs the test which started it once more, for example
// with a consumer that is killed there. Its methods fail the test when something
// goes wrong, and are for the test's own goroutine.
type Child struct {
	t    testing.TB
	proc *process
	out  lockedBuffer
}

// StartChild runs the calling test, and no other, in a process of its own, with
// entries of the form "KEY=value" added to its environment. The test has to look
// for them first, and do there what is the child's part:
//
//	if addr := os.Getenv("CONSUME_FROM"); addr != "" {
//		consumeUntilKilled(t, addr)
//		return
//	}
//	child := streamtest.StartChild(t, "CONSUME_FROM="+server.Addr)
//
// When the test is over the child is killed; on Linux also when the test's
// process is.
func StartChild(t testing.TB, env ...string) *Child {
	t.Helper()
	var pattern []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	c := &Child{t: t}
	cmd := exec.Command(os.Args[0], "-test.run", strings.Join(pattern, "/"), "-test.count=1")
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &c.out, &c.out
	proc, err := startProcess(cmd)
	if err != nil {
		t.Fatalf("starting the test again: %v", err)
	}
	c.proc = proc
	t.Cleanup(proc.kill)
	return c
}

// Kill ends the child as kill -9 does, and waits until it is gone.
func (c *Child) Kill() { c.proc.kill() }

// Freeze halts the child as SIGSTOP does, until Thaw. It fails the test on
// Windows.
func (c *Child) Freeze() {
	c.t.Helper()
	if err := c.proc.freeze(); err != nil {
		c.t.Fatalf("freezing the child: %v", err)
	}
}

// Thaw lets a frozen child go on, as SIGCONT does.
func (c *Child) Thaw() {
	c.t.Helper()
	if err := c.proc.thaw(); err != nil {
		c.t.Fatalf("thawing the child: %v", err)
	}
}

// AwaitKilled waits until the child has been killed, by itself at a [KillPoint]
// for example, and fails the test with the child's output if it ends in another
// way.
func (c *Child) AwaitKilled() {
	c.t.Helper()
	awaitClosed(c.t, "the child is killed", c.proc.gone)
	if !killed(c.proc.cmd.ProcessState) {
		c.t.Fatalf("the child was not killed: %v\n%s", c.proc.err, c.Output())
	}
}

// AwaitOutput waits until the child has printed a text, and fails the test if
// it ends before that.
func (c *Child) AwaitOutput(text string) {
	c.t.Helper()
	Await(c.t, "the child prints "+text, func() bool {
		select {
		case <-c.proc.gone:
			if !strings.Contains(c.Output(), text) {
				c.t.Fatalf("the child has ended, %v, and not printed %q\n%s", c.proc.err, text, c.Output())
			}
		default:
		}
		return strings.Contains(c.Output(), text)
	})
}

// Output returns what the child has printed so far.
func (c *Child) Output() string { return c.out.String() }

// lockedBuffer is a buffer that can be read while it is written to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
