package feed

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
)

func TestReplyLimit(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	var l replyLimit
	if got := l.of(500, now); got != 500 {
		t.Errorf("without a cut %d are asked for", got)
	}
	for _, want := range []int{250, 125, 62} {
		l.cut(l.of(500, now), true, now)
		if got := l.of(500, now); got != want {
			t.Errorf("%d are asked for, want %d", got, want)
		}
	}
	// It grows, to twice as much each time.
	for _, want := range []int{62, 124, 248, 496, 500} {
		if got := l.of(500, now); got != want {
			t.Errorf("after %v %d are asked for, want %d", now.Sub(time.Unix(0, 0)), got, want)
		}
		now = now.Add(growAfter)
	}
	// A count that turns out to be too large again is tried less and less often.
	for wait := 2 * growAfter; wait <= 2*maxGrowAfter; wait *= 2 {
		l.cut(500, true, now)
		most := min(wait, maxGrowAfter)
		if got := l.of(500, now.Add(most-1)); got != 250 {
			t.Errorf("%v after a cut %d are asked for, want 250", most-1, got)
		}
		now = now.Add(most)
		if got := l.of(500, now); got != 500 {
			t.Errorf("%v after a cut %d are asked for, want 500", most, got)
		}
	}
	l.cut(1, true, now)
	if got := l.of(500, now); got != 1 {
		t.Errorf("%d are asked for, want 1 at the least", got)
	}
}

func TestIsCut(t *testing.T) {
	t.Parallel()
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, test := range []struct {
		err   error
		begun bool
		after time.Duration
		want  bool
	}{
		{io.EOF, false, time.Millisecond, true},
		{reset, false, time.Millisecond, true},
		{io.EOF, false, time.Minute, false}, // it waited for entries
		{io.EOF, true, time.Minute, true},
		{io.ErrUnexpectedEOF, true, time.Minute, true},
		{reset, true, time.Minute, true},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, true, time.Minute, true},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, false, time.Millisecond, false}, // the server stands still
		{&net.OpError{Op: "read", Err: net.ErrClosed}, true, time.Millisecond, false},           // closed here
		{resp.Malformed("it is odd"), true, time.Millisecond, false},
	} {
		if got := conn.IsCut(test.err, test.begun, test.after); got != test.want {
			t.Errorf("isCut(%v, %v, %v) is %v", test.err, test.begun, test.after, got)
		}
	}
}

func TestPaceAfterCuts(t *testing.T) {
	t.Parallel()
	p := newPace(resp.Budget{Room: resp.Unlimited}, 4)
	broken := func() *conn.CutError {
		var cut *conn.CutError
		if err := p.failed(&conn.CutError{Err: io.EOF, Begun: true}); !errors.As(err, &cut) || !errors.Is(err, io.EOF) {
			t.Fatalf("it became %v", err)
		}
		return cut
	}
	for _, want := range []struct {
		asked, next  int
		least, alone bool
	}{{4, 2, false, false}, {2, 1, false, false}, {1, 1, false, true}, {1, 1, true, true}} {
		cut := broken()
		if cut.Asked != want.asked || cut.Least != want.least || p.count != want.next || p.alone != want.alone || p.Steady {
			t.Errorf("got %+v and %+v, want %+v", cut, p, want)
		}
		if (conn.Classify(cut).Advice != "") != want.least {
			t.Errorf("the advice is %q", conn.Classify(cut).Advice)
		}
	}
	p.learn(resp.Batch{Entries: make([]resp.Entry, 1), Bytes: 1})
	if !p.alone || p.count != 1 {
		t.Errorf("after a read that worked it is %+v", p)
	}
	p.limit.grows = time.Now()
	p.learn(resp.Batch{Entries: make([]resp.Entry, 1), Bytes: 1})
	if p.alone || p.count != 2 {
		t.Errorf("when it grows it is %+v", p)
	}
	if err := p.failed(io.EOF); err != io.EOF { //nolint:errorlint // as it is
		t.Errorf("another failure became %v", err)
	}
	if p.alone || p.count != 2 {
		t.Errorf("after another failure it is %+v", p)
	}
}

// A connection that is closed before anything of a reply has come may be that of a server
// that is restarted. Twice in a row, the reply is too large.
func TestOneClosedConnectionIsNoCut(t *testing.T) {
	t.Parallel()
	p := newPace(resp.Budget{Room: resp.Unlimited}, 4)
	for range 3 {
		if err := p.failed(&conn.CutError{Err: io.EOF}); err != io.EOF || p.count != 4 { //nolint:errorlint // as it is
			t.Errorf("once it became %v, and %d are asked for", err, p.count)
		}
		p.learn(resp.Batch{Entries: make([]resp.Entry, 1), Bytes: 1})
	}
	_ = p.failed(&conn.CutError{Err: io.EOF})
	var cut *conn.CutError
	if err := p.failed(&conn.CutError{Err: io.EOF}); !errors.As(err, &cut) || p.count != 2 {
		t.Errorf("twice it became %v, and %d are asked for", err, p.count)
	}
}
