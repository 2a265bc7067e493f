// Command mutants shows that the suites would find the bugs that they are there to
// find: it puts one deliberate bug after another into the packages of the module, runs
// the tests that have to catch it, and prints which of them did.
//
//	go run ./stream/faults/mutants
//	go run ./stream/faults/mutants -only 'before the handler'
//
// The source stays as it is: the mutant is laid over it for one build (go help
// build, -overlay). It needs a redis-server on the PATH, takes about a quarter of a
// minute for each mutant, and ends with an error if one survives.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	only := flag.String("only", "", "run the mutants whose names match this regular expression")
	build := flag.Bool("build", false, "only build the mutants, to see that they keep up with the source")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *build); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

// every returns all mutants.
func every() []mutant {
	return slices.Concat(mutants, engineMutants, effectsMutants, laterMutants, steerMutants, roomMutants, adminMutants, sqlMutants, codecMutants)
}

// run tries the mutants whose names match, and prints a line for each.
func run(ctx context.Context, only string, build bool) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	var survivors []string
	const row = "%-64s  %7v  %s\n"
	fmt.Printf(row, "mutant", "seconds", "caught by")
	tried := 0
	for _, m := range every() {
		if !pattern.MatchString(m.name) {
			continue
		}
		tried++
		begun := time.Now()
		if build {
			if err := m.build(ctx, root); err != nil {
				fmt.Printf(row, m.name, int(time.Since(begun).Seconds()), err)
				survivors = append(survivors, m.name)
			}
			continue
		}
		catcher, err := m.try(ctx, root)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if catcher == "" {
			survivors = append(survivors, m.name)
			catcher = "NOBODY"
		}
		fmt.Printf(row, m.name, int(time.Since(begun).Seconds()), catcher)
	}
	switch {
	case tried == 0:
		return fmt.Errorf("no mutant is called %q", only)
	case build && len(survivors) > 0:
		return fmt.Errorf("%d of %d mutants cannot be built", len(survivors), tried)
	case build:
		fmt.Printf("all %d mutants can be built\n", tried)
		return nil
	case len(survivors) > 0:
		return fmt.Errorf("%d of %d mutants survived: %s", len(survivors), tried, strings.Join(survivors, "; "))
	}
	fmt.Printf("all %d mutants were caught\n", tried)
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "millrace").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module millrace; run this in its tree: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// build builds the module with the mutant.
func (m mutant) build(ctx context.Context, root string) (err error) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	overlay, err := m.overlay(root, dir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "./...")
	cmd.Dir = root
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}

// try runs the tests that have to catch the mutant, until one does. It returns the
// name of that test, empty if there is none.
func (m mutant) try(ctx context.Context, root string) (catcher string, err error) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	overlay, err := m.overlay(root, dir)
	if err != nil {
		return "", err
	}
	for _, test := range m.tests {
		cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-overlay", overlay, "-count=1", "-timeout=3m", "-run", "^("+test.names+")$", ".")
		cmd.Dir = filepath.Join(root, filepath.FromSlash(test.pkg)) // it may be a module of its own
		cmd.WaitDelay = time.Second
		text, failure := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case failure == nil && strings.Contains(string(text), "no tests to run"):
			return "", fmt.Errorf("there is no test %s in %s", test.names, test.pkg)
		case failure == nil:
			continue
		case !errors.As(failure, &exit), strings.Contains(string(text), "[build failed]"), strings.Contains(string(text), "[setup failed]"):
			return "", fmt.Errorf("the tests cannot be run: %w\n%s", failure, text)
		}
		return caughtBy(string(text), test), nil
	}
	return "", nil
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// caughtBy returns the name of the test that failed, the innermost if it is one of
// many.
func caughtBy(output string, test tests) string {
	name := test.names + " (timeout or crash)"
	for _, match := range failed.FindAllStringSubmatch(output, -1) {
		if strings.Contains(name, "(") || strings.HasPrefix(match[1], name+"/") {
			name = match[1]
		}
	}
	return test.pkg + " " + name
}

// overlay writes the mutant's files to a folder, and the list of what they stand
// for, whose path it returns.
func (m mutant) overlay(root, dir string) (string, error) {
	files, err := m.files(root)
	if err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for path, text := range files {
		instead := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(instead, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, filepath.FromSlash(path))] = instead
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// files returns the files of the mutant, by their paths in the module.
func (m mutant) files(root string) (map[string]string, error) {
	files := make(map[string]string)
	for _, e := range m.edits {
		text, ok := files[e.file]
		if !ok {
			read, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
			if err != nil {
				return nil, err
			}
			text = string(read)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s has the text to replace %d times, it has to be once: %q", e.file, n, e.old)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files, nil
}
