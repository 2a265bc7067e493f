package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

// A sound error stays the same, and in one that panics errors.Is and errors.As find all
// that can be found without a panic.
func TestHarmless(t *testing.T) {
	t.Parallel()
	sound := fmt.Errorf("reading: %w", errors.Join(io.EOF, &SkipError{Reason: "x"}))
	if got := harmless(sound); got != sound { //nolint:errorlint // the very same
		t.Errorf("a sound error became %v", got)
	}
	if got := harmless(nil); got != nil {
		t.Errorf("nil became %v", got)
	}
	var nothing *net.OpError
	got := harmless(fmt.Errorf("writing: %w", errors.Join(io.EOF, error(nothing), Permanent(io.ErrUnexpectedEOF))))
	var permanent *PermanentError
	if !errors.Is(got, io.EOF) || !errors.Is(got, io.ErrUnexpectedEOF) || !errors.As(got, &permanent) {
		t.Errorf("%v has lost what it wraps", got)
	}
	var op *net.OpError
	if errors.As(got, &op) {
		t.Error("a nil pointer was found")
	}
	if text := harmless(nothing).Error(); !strings.Contains(text, "*net.OpError") {
		t.Errorf("the text is %q", text)
	}
}

func TestElsewhere(t *testing.T) {
	t.Parallel()
	var panicked *PanicError
	if err := isolated(func() error { panic(error((*net.OpError)(nil))) }); !errors.As(err, &panicked) || len(panicked.Stack) == 0 {
		t.Errorf("a panic became %v", err)
	}
	if err := isolated(func() error { runtime.Goexit(); return nil }); err != errGoexit { //nolint:errorlint // our own
		t.Errorf("runtime.Goexit became %v", err)
	}
}

// Errors are of one cause if they differ only in words that look like IDs.
func TestCauseOf(t *testing.T) {
	t.Parallel()
	refused := func(id int) error {
		return fmt.Errorf("order %d: %w", id, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")})
	}
	for _, test := range []struct {
		a, b error
		same bool
	}{
		{refused(1), refused(2), true},
		{errors.New("order 17 is bad"), errors.New("order 18 is bad"), true},
		{errors.New(`order "a" is bad`), errors.New(`order "b" is bad`), true},
		{io.EOF, io.ErrUnexpectedEOF, false},
		{fmt.Errorf("order 1: %w", io.EOF), fmt.Errorf("order 1: %w", io.ErrUnexpectedEOF), false},
		{refused(1), errors.New("refused"), false},
		{newPanicError("no"), errors.New("no"), false},
		{&net.OpError{Op: "dial"}, &net.OpError{Op: "read"}, true},
	} {
		if a, b := causeOf(test.a), causeOf(test.b); (a == b) != test.same {
			t.Errorf("%q and %q", a, b)
		}
	}
}
