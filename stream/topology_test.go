package stream_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// startCluster starts a cluster of one node.
func startCluster(t *testing.T) *redis.ClusterClient {
	t.Helper()
	server := streamtest.StartRedis(t, "--cluster-enabled", "yes")
	node := server.Client()
	if err := node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is up", func() bool {
		info, err := node.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, ReadOnly: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// startSentinel starts a server and a sentinel that watches it.
func startSentinel(t *testing.T) *redis.Client {
	t.Helper()
	server := streamtest.StartRedis(t)
	host, port, _ := net.SplitHostPort(server.Addr)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	_, sentinelPort, _ := net.SplitHostPort(addr)
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor it %s %s 1\n", sentinelPort, host, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", config, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "it", SentinelAddrs: []string{addr}})
	t.Cleanup(func() { _ = client.Close() })
	eventually(t, "the sentinel knows its server", func() bool { return client.Ping(t.Context()).Err() == nil })
	return client
}

// Both modes, with dead letters in the topic's slot and in another.
func TestTopologies(t *testing.T) {
	t.Parallel()
	for where, connect := range map[string]func(*testing.T) redis.UniversalClient{
		"cluster":  func(t *testing.T) redis.UniversalClient { t.Helper(); return startCluster(t) },
		"sentinel": func(t *testing.T) redis.UniversalClient { t.Helper(); return startSentinel(t) },
	} {
		for _, mode := range []string{"log", "group"} {
			t.Run(where+"/"+mode, func(t *testing.T) {
				t.Parallel()
				client := connect(t)
				for _, id := range []string{"a", "dead", "far", "b"} {
					add(t, client, id)
				}
				rec := newRecorder()
				rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
					switch msg.Value.ID {
					case "dead":
						return &stream.DeadLetterError{Attempts: 1, Err: io.ErrUnexpectedEOF}
					case "far": // in another slot than the topic
						return &stream.DeadLetterError{Stream: "elsewhere", Attempts: 1, Err: io.ErrUnexpectedEOF}
					}
					return nil
				}
				var consumer *stream.Consumer[order]
				if mode == "group" {
					consumer = newGroup(t, client, rec.Handle)
				} else {
					store, err := offset.NewRedis(client, "")
					if err != nil {
						t.Fatal(err)
					}
					consumer = newConsumer(t, client, store, rec.Handle)
				}
				stop := start(t, consumer)
				if seen := rec.await(t, 4); !slices.Equal(seen, []string{"a", "dead", "far", "b"}) {
					t.Errorf("delivered %v", seen)
				}
				if mode == "group" {
					settled(t, client)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				for _, key := range []string{"{orders}:dead", "elsewhere"} {
					if n, err := client.XLen(t.Context(), key).Result(); n != 1 || err != nil {
						t.Errorf("%s has %d entries, %v, want 1", key, n, err)
					}
				}
				if mode == "group" {
					if names := consumers(t, client); len(names) != 0 {
						t.Errorf("after the stop there are consumers %q", names)
					}
				}
			})
		}
	}
}
