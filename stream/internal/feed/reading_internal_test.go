package feed

import (
	"context"
	"fmt"
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

// protocols runs a test for each version of RESP.
func protocols(t *testing.T, test func(t *testing.T, protocol int)) {
	t.Helper()
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", protocol), func(t *testing.T) { t.Parallel(); test(t, protocol) })
	}
}
