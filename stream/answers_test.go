package stream_test

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// answers is a cluster of one node that answers each command that adds an
// entry with the next of its replies; "" closes the connection.
type answers struct {
	mu      sync.Mutex
	replies []string
}

func (a *answers) next() (reply string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.replies) == 0 {
		return "-ERR asked too often"
	}
	reply, a.replies = a.replies[0], a.replies[1:]
	return reply
}

func (a *answers) client(t *testing.T) *redis.ClusterClient {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() { a.serve(conn) })
		}
	})
	client := redis.NewClusterClient(&redis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: "127.0.0.1:1"}}}}, nil
		},
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return net.Dial("tcp", listener.Addr().String())
		},
	})
	t.Cleanup(func() {
		_ = client.Close()
		_ = listener.Close()
		work.Wait()
	})
	return client
}

// serve reads lines, of which every command that is not ours has one that begins
// with its name.
func (a *answers) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		var reply string
		switch line := strings.ToLower(lines.Text()); line {
		case "hello":
			reply = "-ERR unknown command\r\n"
		case "client":
			reply = "+OK\r\n"
		case "command":
			reply = "*0\r\n"
		case "xadd", "evalsha", "eval":
			if reply = a.next(); reply == "" {
				return
			}
			reply += "\r\n"
		default:
			continue
		}
		_, _ = conn.Write([]byte(reply))
	}
}

const moved = "-MOVED 1 127.0.0.1:1"

func TestRedirections(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		replies []string
		is      func(error) bool
	}{
		"redirected":                {[]string{moved, "+1-0"}, func(err error) bool { return err == nil }},
		"redirected without end":    {[]string{moved, moved, moved, moved, moved, moved}, isNotWritten},
		"redirected, then refused":  {[]string{moved, "-OOM command not allowed"}, isNotWritten},
		"redirected, then no reply": {[]string{moved, ""}, isUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := &answers{replies: test.replies}
			if _, err := newProducer(t, cluster.client(t)).Publish(t.Context(), order{ID: "a"}); !test.is(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// After a redirection go-redis leaves the MOVED with those commands of a pipeline
// whose second reply is lost: that is no refusal.
func TestARedirectedPipelineLosesItsReplies(t *testing.T) {
	t.Parallel()
	cluster := &answers{replies: []string{moved, moved, moved, "+1-0", ""}}
	results, err := newProducer(t, cluster.client(t)).PublishAll(t.Context(), ordersOf(3))
	if !isUnknown(err) || results[0].ID != "1-0" || !isUnknown(results[1].Err) || !isUnknown(results[2].Err) {
		t.Errorf("got %+v, %v", results, err)
	}
}

// A refusal says nothing about an attempt before it whose reply was lost.
func TestARefusalAfterALostReply(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		replies []string
		is      func(error) bool
	}{
		"refused at once":                {[]string{"-NOSCRIPT", "-OOM"}, isNotWritten},
		"lost, then refused":             {[]string{"", "-OOM"}, isUnknown},
		"lost, then forgotten, refused":  {[]string{"", "-NOSCRIPT", "-OOM"}, isUnknown},
		"forgotten, then lost, refused":  {[]string{"-NOSCRIPT", "", "-OOM"}, isUnknown},
		"lost, then the ID that was set": {[]string{"", "-NOSCRIPT", "+1-0"}, func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := &answers{replies: test.replies}
			if _, err := newProducer(t, cluster.client(t)).PublishOnce(t.Context(), "a", order{ID: "a"}); !test.is(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
