package conn

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/stream/streamtest"
)

// What waits for no reply can be closed at any time: a command that finds its connection
// closed so goes on another one, once, and a reply that is awaited still comes.
func TestIdleConnectionsAreDropped(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		const connections = 4
		c, err := NewClient(b.Client, connections)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.close() }()
		ctx := t.Context()
		var waiting sync.WaitGroup
		for range connections {
			waiting.Go(func() { c.Client.BLPop(ctx, time.Second, "nothing") })
		}
		waiting.Wait()
		var popped []string
		waiting.Go(func() { popped, err = c.Client.BLPop(ctx, time.Minute, "list").Result() })
		synctest.Wait()
		if len(c.open) != connections {
			t.Fatalf("%d connections are open, want %d", len(c.open), connections)
		}
		c.dropIdle()
		if len(c.open) != 1 {
			t.Errorf("%d connections are left, want the one on which a reply is awaited", len(c.open))
		}
		for range 2 {
			if err := c.Client.Incr(ctx, "sent").Err(); err != nil {
				t.Errorf("on a connection that was dropped: %v", err)
			}
		}
		if n := b.Client.Get(ctx, "sent").Val(); n != "2" {
			t.Errorf("of 2 commands the server has got %q", n)
		}
		b.Client.RPush(ctx, "list", "x")
		waiting.Wait()
		if err != nil || len(popped) != 2 {
			t.Errorf("what was awaited is %q, %v", popped, err)
		}
	})
}
