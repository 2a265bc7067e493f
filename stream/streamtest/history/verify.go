package history

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Verify checks a history with [Rules.Check], and fails the test if there is a violation or an
// error. After a violation the history is kept, next to the IDs of the stream, in the artifact
// directory of the test; run the test with -artifacts to find them there. Verify returns all
// findings, also findings that faults explain. It is for the test's own goroutine.
func Verify(t testing.TB, rules Rules, events []Event, log []string) Findings {
	t.Helper()
	findings, err := rules.Check(events, log)
	if err != nil {
		t.Fatal(err)
	}
	violations := findings.Violations()
	if len(violations) == 0 {
		return findings
	}
	dir := t.ArtifactDir()
	if err := keep(dir, events, log); err != nil {
		t.Error(err)
	}
	t.Errorf("%v\nthe history is in %s", violations, dir)
	return findings
}

func keep(dir string, events []Event, log []string) error {
	file, err := os.Create(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		return err
	}
	return errors.Join(Write(file, events), file.Close(),
		os.WriteFile(filepath.Join(dir, "stream.txt"), []byte(strings.Join(log, "\n")+"\n"), 0o600))
}
