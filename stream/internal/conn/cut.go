package conn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// CutError is the failure of a read whose reply broke off. It is filled in by the feed,
// which knows the size of the read.
type CutError struct {
	Err error
	// Begun is set if some of the reply had come.
	Begun bool
	Asked int
	// Least is set where there is no smaller read.
	Least bool
}

func (e *CutError) Error() string {
	if e.Least {
		return fmt.Sprintf("the reply to a read of one entry broke off: %v", e.Err)
	}
	return fmt.Sprintf("the reply to a read of up to %d entries of a stream broke off; the next one asks for fewer: %v", e.Asked, e.Err)
}

func (e *CutError) Unwrap() error { return e.Err }

// cutWithin is how soon after a request a connection is closed because of the reply.
// Redis sends nothing of a reply that is too large: a connection that is closed later,
// without a byte, was waiting for entries, and ended for another reason.
const cutWithin = time.Second

// IsCut reports whether the error of a connection means that the reply broke off, which
// had begun or not, so long after the request. A connection that was closed here, and a
// server that stands still, do not count.
func IsCut(err error, begun bool, after time.Duration) bool {
	var network net.Error
	switch {
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return false
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return begun || after < cutWithin
	}
	return begun && errors.As(err, &network)
}
