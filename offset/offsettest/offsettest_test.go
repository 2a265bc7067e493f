package offsettest_test

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"millrace/offset"
	"millrace/offset/offsettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCorrectStorePasses(t *testing.T) {
	t.Parallel()
	offsettest.Run(t, harnessOf(nil, saveAndTell))
}

func TestOptionalChecksAreSkipped(t *testing.T) {
	t.Parallel()
	offsettest.Run(t, offsettest.Harness{New: func(*testing.T) offset.Store { return new(offset.Memory) }})
}

// TestBrokenStores runs the suite on each broken store in a child process,
// because a failed subtest cannot be taken back. In the child, this same test is
// the failing one.
func TestBrokenStores(t *testing.T) {
	t.Parallel()
	const childEnv = "OFFSETTEST_BROKEN_STORE"
	child := os.Getenv(childEnv)

	for _, broken := range brokenStores {
		if child == broken.name {
			offsettest.Run(t, broken.harness)
			return
		}
	}
	if child != "" {
		t.Fatalf("%s=%q names no broken store", childEnv, child)
	}

	failedCheck := regexp.MustCompile(`(?m)^ +--- FAIL: TestBrokenStores/(\S+)`)
	for _, broken := range brokenStores {
		t.Run(broken.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBrokenStores$", "-test.count=1")
			// The race detector waits a second before the exit of each child.
			cmd.Env = append(os.Environ(), childEnv+"="+broken.name, "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()

			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("the suite passed a store that %s (%v)\n%s", broken.name, err, out)
			}
			var failed []string
			for _, match := range failedCheck.FindAllSubmatch(out, -1) {
				failed = append(failed, string(match[1]))
			}
			if !slices.Equal(failed, broken.fails) {
				t.Errorf("a store that %s failed the checks\n  %v, want\n  %v\n%s", broken.name, failed, broken.fails, out)
			}
		})
	}
}

// A check that no broken store fails may be one that cannot fail.
func TestEveryCheckHasABrokenStore(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCorrectStorePasses$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checks := regexp.MustCompile(`(?m)^ +--- PASS: TestCorrectStorePasses/(\S+)`).FindAllSubmatch(out, -1)
	if len(checks) == 0 {
		t.Fatalf("no checks in the output:\n%s", out)
	}
	for _, check := range checks {
		caught := false
		for _, broken := range brokenStores {
			caught = caught || slices.Contains(broken.fails, string(check[1]))
		}
		if !caught {
			t.Errorf("no broken store fails the check %s", check[1])
		}
	}
}
