package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The mutants keep up with the source: each still finds what it replaces.
func TestMutantsFit(t *testing.T) {
	t.Parallel()
	all := slices.Concat(mutants, engineMutants, steerMutants, roomMutants, adminMutants, sqlMutants)
	root, err := moduleRoot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		files, err := m.files(root)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		for path, text := range files {
			if filepath.Ext(path) != ".go" {
				continue
			}
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
	names := make(map[string]bool)
	for _, m := range all {
		if names[m.name] {
			t.Errorf("two mutants are called %q", m.name)
		}
		names[m.name] = true
	}
	if len(all) < 100 {
		t.Errorf("there are %d mutants, want 100 at least", len(all))
	}
}

// hasTest looks for a test, whose name is a regular expression, in the files of a folder.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`\nfunc ` + name + `\(t \*testing\.T\)`)
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return pattern.Match(text)
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
