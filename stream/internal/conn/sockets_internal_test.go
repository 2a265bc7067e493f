package conn

import (
	"context"
	"errors"
	"net"
	"testing"
)

// A read that is ended late must not take the next one along.
func TestEndReadIsForThatRead(t *testing.T) {
	t.Parallel()
	s := &sockets{open: make(map[*socket]struct{})}
	dialled := make(chan context.Context)
	dial := s.dialer(t.Context(), func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case dialled <- ctx:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		conn, _ := net.Pipe()
		return conn, nil
	})
	connect := func() (context.Context, net.Conn) {
		conns := make(chan net.Conn, 1)
		go func() {
			conn, err := dial(t.Context(), "tcp", "")
			if err != nil {
				t.Error(err)
			}
			conns <- conn
		}()
		return <-dialled, <-conns
	}
	first := s.BeginRead()
	s.EndRead(first)
	// Before the connection is there: it comes, and is of no use.
	conn, err := dial(t.Context(), "tcp", "")
	if err != nil {
		t.Fatalf("the dial of a read that was ended failed with %v: go-redis would not dial again for a second", err)
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("a read that was ended has got a connection")
	}
	second := s.BeginRead()
	if _, kept := connect(); len(s.open) != 1 {
		t.Errorf("the next read has %v, and %d sockets are open", kept, len(s.open))
	}
	s.EndRead(first)
	if len(s.open) != 1 {
		t.Error("the end of the first read has closed the socket of the second")
	}
	s.EndRead(second)
	if len(s.open) != 0 {
		t.Error("the second read was not ended")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.BeginRead()
	if _, err := dial(ended, "tcp", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a dial whose own context is done returned %v", err)
	}
}
