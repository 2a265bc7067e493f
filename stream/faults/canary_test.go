package faults_test

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// canary is in every payload and password. It may be seen in no log, no error and no
// dead letter's own fields.
const canary = "s3cr3t-canary"

// journal is the log of everything under test.
type journal struct {
	// out, if there is one, gets everything at once: what a process has said by the
	// time that it is killed.
	out io.Writer

	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.out != nil {
		return j.out.Write(p)
	}
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// mark tells how much has been written, for since.
func (j *journal) mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Len()
}

// since returns what has been written since a mark, without what is for debugging.
func (j *journal) since(mark int) string {
	var b strings.Builder
	for line := range strings.Lines(j.String()[mark:]) {
		if !strings.Contains(line, " level=DEBUG ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// keepIfFailed keeps the log of a test that fails in its artifact directory; run it
// with -artifacts to find it there.
func (j *journal) keepIfFailed(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		path := filepath.Join(t.ArtifactDir(), "log.txt")
		if err := os.WriteFile(path, []byte(j.String()), 0o600); err != nil {
			t.Error(err)
		}
		t.Log("the log is in ", path)
	})
}

// note writes an error that a user would see.
func (j *journal) note(err error) {
	if err != nil {
		j.logger().Info("an error", "err", err)
	}
}

// expectNoCanary fails the test if a secret is in the journal.
func (j *journal) expectNoCanary(t testing.TB) {
	t.Helper()
	for line := range strings.Lines(j.String()) {
		if strings.Contains(line, canary) {
			t.Errorf("a secret is in the log: %s", line)
			return
		}
	}
}

// expectNoRival fails the test if a consumer took a fault for another consumer of its
// name or label: there is none.
func (j *journal) expectNoRival(t testing.TB) {
	t.Helper()
	for line := range strings.Lines(j.String()) {
		if strings.Contains(line, "another live consumer of the group") || strings.Contains(line, "by another writer") {
			t.Error("there is no other consumer: ", line)
		}
	}
}
