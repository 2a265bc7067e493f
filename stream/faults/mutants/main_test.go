package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The mutants keep up with the source: each still finds what it replaces.
func TestMutantsFit(t *testing.T) {
	t.Parallel()
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		files, err := m.files(root)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		for path, text := range files {
			if _, err := parser.ParseFile(token.NewFileSet(), path, text, 0); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
		for _, of := range m.tests {
			for name := range strings.SplitSeq(of.names, "|") {
				if !hasTest(t, filepath.Join(root, of.pkg), name) {
					t.Errorf("%s: there is no test %s in %s", m.name, name, of.pkg)
				}
			}
		}
		if len(m.edits) == 0 || len(m.tests) == 0 {
			t.Errorf("%s has no edits, or no tests to catch it", m.name)
		}
	}
	if len(mutants) < 12 {
		t.Errorf("there are %d mutants, want 12 at least", len(mutants))
	}
}

// hasTest looks for a test in the files of a folder.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)")
	})
}

func TestCaughtBy(t *testing.T) {
	t.Parallel()
	of := tests{"./stream", "TestA|TestB"}
	for output, want := range map[string]string{
		"--- FAIL: TestB (0.1s)\n    --- FAIL: TestB/log (0.1s)\n": "./stream TestB/log",
		"panic: test timed out after 3m0s":                         "./stream TestA|TestB (timeout or crash)",
	} {
		if got := caughtBy(output, of); got != want {
			t.Errorf("caught by %q, want %q", got, want)
		}
	}
}
