package stream_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// A stop ends the read that is on its way at any moment, also one whose connection is still
// being made, which no server can end and which has no socket to be closed yet.
func TestStopWhileConnecting(t *testing.T) {
	t.Parallel()
	const dialling = 300 * time.Millisecond
	for _, mode := range bothModes() {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, client *redis.Client) {
				opts := optionsOf(client)
				dial := opts.Dialer
				opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
					select {
					case <-time.After(dialling):
						return dial(ctx, network, addr)
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				for at := time.Duration(0); at < 4*time.Second; at += 50 * time.Millisecond {
					client := redis.NewClient(opts)
					var r stream.Runner
					for _, name := range topicNames(3) {
						r.Add(mode.make(t, client, name, new(Counts).Handle))
					}
					stop := start(t, &r)
					time.Sleep(at)
					begun := time.Now()
					if err := stop(); err != nil {
						t.Errorf("after %v: %v", at, err)
					}
					if took := time.Since(begun); took > time.Second {
						t.Errorf("after %v, it took %v to stop", at, took)
					}
					_ = client.Close()
				}
			})
		})
	}
}
