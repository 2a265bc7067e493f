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

// Child is a process that runs the same test as the process that started it, for example with a
// consumer that the test kills. The methods of a Child fail the test if an operation fails, and
// are for the test's own goroutine.
type Child struct {
	t    testing.TB
	proc *process
	out  lockedBuffer
}

// StartChild runs the calling test, and no other, in a process of its own, with entries of the
// form "KEY=value" added to the environment of the process. The test has to look for these
// entries first, and do the work of the child if they are set:
//
//	if addr := os.Getenv("CONSUME_FROM"); addr != "" {
//		consumeUntilKilled(t, addr)
//		return
//	}
//	child := streamtest.StartChild(t, "CONSUME_FROM="+server.Addr)
//
// The child is killed when the test is over; on Linux also when the process of the test ends.
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

// Kill ends the child as kill -9 does, and waits until its process has ended. A child that has
// ended already stays as it is.
func (c *Child) Kill() { c.proc.kill() }

// Freeze halts the child as SIGSTOP does, until Thaw. On Windows, Freeze fails the test.
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

// AwaitKilled waits until the child has been killed, for example by its own [KillPoint]. The
// test fails if the child ends in another way, with the child's output, or if the child has not
// ended after 30 seconds.
func (c *Child) AwaitKilled() {
	c.t.Helper()
	awaitClosed(c.t, "the child is killed", c.proc.gone)
	if !killed(c.proc.cmd.ProcessState) {
		c.t.Fatalf("the child was not killed: %v\n%s", c.proc.err, c.Output())
	}
}

// AwaitOutput waits until the child has printed a text. The test fails if the child ends before
// that, or if the text is missing after 30 seconds.
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

// Output returns the output of the child so far: its standard output and its standard error.
func (c *Child) Output() string { return c.out.String() }

// lockedBuffer is a buffer that can be read and written at the same time.
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
