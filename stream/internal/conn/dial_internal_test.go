package conn

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

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
		c, err := NewClient(client, 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.close() })
		server.Kill()
		for range 3 {
			var network *net.OpError
			if err := c.Client.Ping(t.Context()).Err(); !errors.As(err, &network) || network.Op != "dial" || !NeverRan(context.Background(), err) {
				t.Errorf("with protocol %d and no server it fails with %v", protocol, err)
			}
		}
		server.Start()
		if err := c.Client.Ping(t.Context()).Err(); err != nil {
			t.Errorf("with protocol %d it fails with %v when the server is back", protocol, err)
		}
	}
}

// Of many commands that fail because a server refuses connections, few dial.
func TestFewDialAServerThatRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dials, up := 0, false
		connect := failsLater(func(context.Context, string, string) (net.Conn, error) {
			dials++
			if !up {
				return nil, net.ErrClosed
			}
			conn, _ := net.Pipe()
			return conn, nil
		})
		ask := func() error {
			conn, err := connect(t.Context(), "tcp", "a:1")
			if err != nil {
				t.Fatal(err)
			}
			_, refused := conn.(*undialled)
			if !refused {
				return nil
			}
			_, err = conn.Write(nil)
			return err
		}
		for range 1000 { // in 2 s
			if err := ask(); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("it fails with %v", err)
			}
			time.Sleep(2 * time.Millisecond)
		}
		if dials > 55 {
			t.Errorf("%d dials in 2 s", dials)
		}
		up = true
		time.Sleep(dialPause)
		if err := ask(); err != nil {
			t.Error(err)
		}
	})
}
