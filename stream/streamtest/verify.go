package streamtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// ReadLog returns the IDs of all entries that a stream has, for [Rules.Check]
// and [Verify].
func ReadLog(t testing.TB, client redis.UniversalClient, stream string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), awaitTimeout)
	defer cancel()
	var ids []string
	for from := "-"; ; from = "(" + ids[len(ids)-1] {
		page, err := client.XRangeN(ctx, stream, from, "+", 1000).Result()
		if err != nil {
			t.Fatalf("reading %s: %v", stream, err)
		}
		for _, message := range page {
			ids = append(ids, message.ID)
		}
		if len(page) < 1000 {
			return ids
		}
	}
}

// Verify checks a history with [Rules.Check], and fails the test if there is a
// violation. The history is kept then, next to the stream's IDs, in the test's
// artifact directory; run the test with -artifacts to find it there. It returns
// all findings, those that faults explain included.
func Verify(t testing.TB, rules Rules, history History, log []string) Findings {
	t.Helper()
	findings, err := rules.Check(history, log)
	if err != nil {
		t.Fatal(err)
	}
	violations := findings.Violations()
	if len(violations) == 0 {
		return findings
	}
	dir := t.ArtifactDir()
	if err := keep(dir, history, log); err != nil {
		t.Error(err)
	}
	t.Errorf("%v\nthe history is in %s", violations, dir)
	return findings
}

func keep(dir string, history History, log []string) error {
	file, err := os.Create(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		return err
	}
	return errors.Join(history.Write(file), file.Close(),
		os.WriteFile(filepath.Join(dir, "stream.txt"), []byte(strings.Join(log, "\n")+"\n"), 0o600))
}
