package stream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
)

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
