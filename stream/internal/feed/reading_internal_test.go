package feed

import (
	"context"
	"testing"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp/resptest"
)

// cannedReader returns a reader of a canned server.
func cannedReader(t testing.TB, c *resptest.Server) *conn.Reader {
	t.Helper()
	r, err := conn.NewReader(context.Background(), c.Client(t), time.Second, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}
