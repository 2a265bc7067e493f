package conn

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"
)

// A reader in a cluster finds out soon that another node has taken over.
func TestReaderKnowsTheClusterAsItIs(t *testing.T) {
	t.Parallel()
	for given, want := range map[time.Duration]time.Duration{
		0:                      time.Second, // go-redis' own default is a minute
		time.Hour:              time.Second,
		100 * time.Millisecond: 100 * time.Millisecond,
	} {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ClusterStateReloadInterval: given})
		defer func() { _ = client.Close() }()
		r, err := NewReader(t.Context(), client, time.Second, false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		if got := r.UniversalClient.(*redis.ClusterClient).Options().ClusterStateReloadInterval; got != want {
			t.Errorf("the user's client looks every %v, the reader every %v, want %v", given, got, want)
		}
	}
}

// What the server pushes to a reader is not for the handlers of the user's client.
func TestReaderHasItsOwnPushes(t *testing.T) {
	t.Parallel()
	single := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Protocol: 3})
	processor := push.NewProcessor()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, PushNotificationProcessor: processor})
	for _, client := range []redis.UniversalClient{single, cluster} {
		defer func() { _ = client.Close() }()
		r, err := NewReader(t.Context(), client, time.Second, false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		switch own := r.UniversalClient.(type) {
		case *redis.Client:
			if own.Options().PushNotificationProcessor == single.Options().PushNotificationProcessor {
				t.Error("a reader of a server shares the processor")
			}
		case *redis.ClusterClient:
			if own.Options().PushNotificationProcessor == processor {
				t.Error("a reader of a cluster shares the processor")
			}
		}
	}
}
