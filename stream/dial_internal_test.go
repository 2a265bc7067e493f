package stream

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
)

// A server that is back is there for the first command, however many have failed before.
func TestAServerThatIsBackIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	for _, protocol := range []int{2, 3} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: protocol})
		t.Cleanup(func() { _ = client.Close() })
		c, err := newConn(client, 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.close() })
		server.Kill()
		for range 3 {
			var network *net.OpError
			if err := c.client.Ping(t.Context()).Err(); !errors.As(err, &network) || network.Op != "dial" || !neverRan(context.Background(), err) {
				t.Errorf("with protocol %d and no server it fails with %v", protocol, err)
			}
		}
		server.Start()
		if err := c.client.Ping(t.Context()).Err(); err != nil {
			t.Errorf("with protocol %d it fails with %v when the server is back", protocol, err)
		}
	}
}
