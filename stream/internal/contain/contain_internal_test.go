package contain

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"runtime"
	"strings"
	"testing"
)

// A sound error stays the same, and in one that panics errors.Is and errors.As find all
// that can be found without a panic.
func TestHarmless(t *testing.T) {
	t.Parallel()
	sound := fmt.Errorf("reading: %w", errors.Join(io.EOF, &fs.PathError{Op: "open", Path: "x", Err: io.ErrClosedPipe}))
	if got := Harmless(sound); got != sound { //nolint:errorlint // the very same
		t.Errorf("a sound error became %v", got)
	}
	if got := Harmless(nil); got != nil {
		t.Errorf("nil became %v", got)
	}
	var nothing *net.OpError
	got := Harmless(fmt.Errorf("writing: %w", errors.Join(io.EOF, error(nothing), &fs.PathError{Op: "open", Err: io.ErrUnexpectedEOF})))
	var path *fs.PathError
	if !errors.Is(got, io.EOF) || !errors.Is(got, io.ErrUnexpectedEOF) || !errors.As(got, &path) {
		t.Errorf("%v has lost what it wraps", got)
	}
	var op *net.OpError
	if errors.As(got, &op) {
		t.Error("a nil pointer was found")
	}
	if text := Harmless(nothing).Error(); !strings.Contains(text, "*net.OpError") {
		t.Errorf("the text is %q", text)
	}
}

func TestIsolated(t *testing.T) {
	t.Parallel()
	var failure *PanicError
	if err := Isolated(func() error { panic(error((*net.OpError)(nil))) }); !errors.As(err, &failure) || len(failure.Stack) == 0 {
		t.Errorf("a panic became %v", err)
	}
	if err := Isolated(func() error { runtime.Goexit(); return nil }); err != ErrGoexit { //nolint:errorlint // our own
		t.Errorf("runtime.Goexit became %v", err)
	}
}
