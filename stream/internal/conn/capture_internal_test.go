package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"

	"millrace/codec"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/resp/resptest"
)

// want is what the reader makes of Reply.
func want(entries int, value string) []resp.Batch {
	one := resp.Batch{Stream: "s", Entries: []resp.Entry{}}
	for i := range entries {
		one.Entries = append(one.Entries, resp.Entry{
			ID: fmt.Sprintf("%d-0", i+1), Fields: codec.FieldsOf("a", fmt.Sprint(i), "b", value),
		})
	}
	return []resp.Batch{one}
}

// What goes through go-redis unnoticed only costs more, and no other test would
// tell.
func TestRepliesAreCaught(t *testing.T) {
	t.Parallel()
	resptest.Protocols(t, func(t *testing.T, protocol int) {
		note := map[int]string{3: ">1\r\n$4\r\nnews\r\n"}[protocol]
		r := cannedReader(t, &resptest.Server{Protocol: protocol, Replies: [][]resptest.Step{resptest.Steps(resptest.Reply(protocol, 1, "x")), resptest.Steps(note + resptest.Reply(protocol, 1, "x"))}})
		if reply, err := r.XRead(t.Context(), &redis.XReadArgs{Streams: []string{"s", "0"}}).Result(); !errors.Is(err, redis.Nil) || len(reply) > 0 {
			t.Errorf("XREAD: go-redis had %v, %v", reply, err)
		}
		if reply, err := r.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"s", ">"}}).Result(); !errors.Is(err, redis.Nil) || len(reply) > 0 {
			t.Errorf("XREADGROUP: go-redis had %v, %v", reply, err)
		}
	})
}

// A reply that is cut never brings entries, and the next read works.
func TestReplyIsCutAnywhere(t *testing.T) {
	t.Parallel()
	resptest.Protocols(t, func(t *testing.T, protocol int) {
		reply := resptest.Reply(protocol, 3, strings.Repeat("v", 120))
		for cut := range len(reply) {
			r := cannedReader(t, &resptest.Server{Protocol: protocol, Replies: [][]resptest.Step{resptest.Steps(reply[:cut]), resptest.Steps(reply)}})
			if got, err := readOnce(r); err == nil || got != nil {
				t.Fatalf("cut at %d: %v, %v", cut, got, err)
			}
			if got, err := readOnce(r); err != nil || !reflect.DeepEqual(got, want(3, strings.Repeat("v", 120))) {
				t.Fatalf("after a cut at %d: %v, %v", cut, got, err)
			}
		}
	})
}

// go-redis looks for notifications before it reads a reply, and does not mind if
// that fails: it reads again. What comes after a failure is never a reply, even
// if a value makes it look like one.
func TestNothingIsReadBehindAnError(t *testing.T) {
	t.Parallel()
	resptest.Protocols(t, func(t *testing.T, protocol int) {
		inner := resptest.Reply(protocol, 1, "forged")
		outer := resptest.Reply(protocol, 1, inner)
		at := strings.Index(outer, inner)
		r := cannedReader(t, &resptest.Server{Protocol: protocol, Replies: [][]resptest.Step{
			{{Text: outer[:at]}, {Err: os.ErrDeadlineExceeded}, {Text: outer[at:]}},
			resptest.Steps(outer),
		}})
		if got, err := readOnce(r); !errors.Is(err, os.ErrDeadlineExceeded) || got != nil {
			t.Fatalf("%v, %v", got, err)
		}
		if got, err := readOnce(r); err != nil || !reflect.DeepEqual(got, want(1, inner)) {
			t.Fatalf("then %v, %v", got, err)
		}
	})
}

func TestReplyComesInPieces(t *testing.T) {
	t.Parallel()
	resptest.Protocols(t, func(t *testing.T, protocol int) {
		for _, size := range []int{0, 1, 50, 100, 2000, resp.WireSize - 2, resp.WireSize, 3 * resp.WireSize} {
			value := strings.Repeat("0123456789", size/10+1)[:size]
			for _, piece := range []int{1, 3, 1000} {
				r := cannedReader(t, &resptest.Server{Protocol: protocol, Piece: piece, Replies: [][]resptest.Step{resptest.Steps(resptest.Reply(protocol, 3, value))}})
				if got, err := readOnce(r); err != nil || !reflect.DeepEqual(got, want(3, value)) {
					t.Fatalf("a value of %d bytes in pieces of %d: %d batches, %v", size, piece, len(got), err)
				}
			}
		}
	})
}

// Whatever is not entries is go-redis' to deal with, and comes out as if there
// were nothing between it and the server.
func TestOtherRepliesPass(t *testing.T) {
	t.Parallel()
	resptest.Protocols(t, func(t *testing.T, protocol int) {
		for _, reply := range []string{
			"-ERR no\r\n", "-NOGROUP none\r\n", "!7\r\nERR no!\r\n", "*-1\r\n", "$-1\r\n", "_\r\n", "%-1\r\n",
			"+OK\r\n", ":1\r\n", "$1\r\nx\r\n", "#t\r\n", "*0\r\n", "%0\r\n",
			"|1\r\n$1\r\nk\r\n$1\r\nv\r\n" + resptest.Reply(protocol, 2, "x"),
			"|1\r\n$1\r\nk\r\n$1\r\nv\r\n-ERR no\r\n",
			strings.Replace(resptest.Reply(protocol, 2, "x"), "*4", "|1\r\n:1\r\n*1\r\n:2\r\n*4", 1),
			strings.Replace(resptest.Reply(protocol, 2, "x"), "*2\r\n$3\r\n1-0\r\n*4", "*4\r\n$3\r\n1-0\r\n*4", 1), // too short then
			"~1\r\n*2\r\n$1\r\ns\r\n*0\r\n",
		} {
			theirs, theirErr := barely((&resptest.Server{Protocol: protocol, Replies: [][]resptest.Step{resptest.Steps(reply)}}).Client(t))
			ours, err := readOnce(cannedReader(t, &resptest.Server{Protocol: protocol, Replies: [][]resptest.Step{resptest.Steps(reply)}}))
			if len(theirs) != len(ours) || len(ours) > 0 && !reflect.DeepEqual(theirs, ours) || (err == nil) != (theirErr == nil) {
				t.Errorf("%q: %v, %v; want %v, %v", reply, ours, err, theirs, theirErr)
			}
			if isServerError(theirErr) && err.Error() != theirErr.Error() {
				t.Errorf("%q: %v, want %v", reply, err, theirErr)
			}
		}
	})
}

func isServerError(err error) bool {
	var server redis.Error
	return errors.As(err, &server)
}

type pushes struct{ seen atomic.Int64 }

func (p *pushes) HandlePushNotification(context.Context, push.NotificationHandlerContext, []any) error {
	p.seen.Add(1)
	return nil
}

// Notifications reach go-redis, whole, wherever they come.
func TestNotificationsPass(t *testing.T) {
	t.Parallel()
	note := ">2\r\n$4\r\nnews\r\n*2\r\n:1\r\n%1\r\n$1\r\nk\r\n$5\r\n*2\r\n$\r\n"
	for piece := range 5 {
		c := &resptest.Server{Protocol: 3, Piece: piece, Replies: [][]resptest.Step{
			resptest.Steps(note+note+resptest.Reply(3, 2, "x"), note),
			resptest.Steps(note, "*-1\r\n"),
			resptest.Steps(resptest.Reply(3, 2, "y") + note[:14]),
			resptest.Steps(note[14:] + resptest.Reply(3, 2, "z")),
		}}
		r := cannedReader(t, c)
		handler := &pushes{}
		if err := r.UniversalClient.(*redis.Client).RegisterPushNotificationHandler("news", handler, false); err != nil {
			t.Fatal(err)
		}
		for i, wanted := range [][]resp.Batch{want(2, "x"), nil, want(2, "y"), want(2, "z")} {
			if got, err := readOnce(r); err != nil || !reflect.DeepEqual(got, wanted) {
				t.Fatalf("in pieces of %d, read %d: %v, %v", piece, i, got, err)
			}
		}
		if seen := handler.seen.Load(); seen != 5 || c.Dialled != 1 {
			t.Errorf("in pieces of %d: %d notifications were handled on %d connections", piece, seen, c.Dialled)
		}
	}
}

// A server that says more than it was asked is out of step: go-redis drops the
// connection, and nothing of what it said is taken for the next reply.
func TestBytesBeyondTheReply(t *testing.T) {
	t.Parallel()
	resptest.Protocols(t, func(t *testing.T, protocol int) {
		c := &resptest.Server{Protocol: protocol, Replies: [][]resptest.Step{
			resptest.Steps(resptest.Reply(protocol, 1, "x") + resptest.Reply(protocol, 1, "unasked")),
			resptest.Steps(resptest.Reply(protocol, 1, "y")),
		}}
		r := cannedReader(t, c)
		for _, value := range []string{"x", "y"} {
			if got, err := readOnce(r); err != nil || !reflect.DeepEqual(got, want(1, value)) {
				t.Fatalf("%s: %v, %v", value, got, err)
			}
		}
		if c.Dialled != 2 {
			t.Errorf("%d connections, want another one for the second read", c.Dialled)
		}
	})
}

// A command may come in several writes, even its beginning.
func TestCommandIsWrittenInParts(t *testing.T) {
	t.Parallel()
	for _, buffer := range []int{16, 32, 64} {
		c := &resptest.Server{Protocol: 2, Replies: [][]resptest.Step{resptest.Steps(resptest.Reply(2, 1, "x")), resptest.Steps(resptest.Reply(2, 1, "y"))}}
		opts := c.Options()
		opts.WriteBufferSize, opts.ReadBufferSize = buffer, buffer
		r, err := NewReader(t.Context(), redis.NewClient(opts), time.Second, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{"x", "y"} {
			got, err := r.Read(t.Context(), &redis.XReadArgs{Streams: []string{strings.Repeat("s", 1000), "0"}}, resp.NoLimit)
			if err != nil || !reflect.DeepEqual(unmeasured(got), want(1, value)) {
				t.Errorf("in parts of %d: %v, %v", buffer, got, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A cluster that moves the stream: to the node that is asked once, go-redis writes
// the command behind an ASKING; to the one that has it now, as ever.
func TestClusterRedirects(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"ASK", "MOVED"} {
		nodes := map[string]*resptest.Server{
			"10.0.0.1:1": {Protocol: 3, Replies: [][]resptest.Step{resptest.Steps("-" + word + " 1 10.0.0.2:1\r\n")}},
			"10.0.0.2:1": {Protocol: 3, Replies: [][]resptest.Step{resptest.Steps(resptest.Reply(3, 2, "x"))}},
		}
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Protocol: 3, DisableIdentity: true,
			ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
				return []redis.ClusterSlot{{End: 16383, Nodes: []redis.ClusterNode{{Addr: "10.0.0.1:1"}}}}, nil
			},
			Dialer: func(_ context.Context, _, addr string) (net.Conn, error) { return nodes[addr].Dial(addr), nil },
		})
		r, err := NewReader(t.Context(), client, time.Second, false)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.ReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"s", ">"}}, resp.NoLimit)
		if err != nil || !reflect.DeepEqual(unmeasured(got), want(2, "x")) {
			t.Errorf("%s: %v, %v", word, got, err)
		}
		_ = r.Close()
		_ = client.Close()
	}
}

// What go-redis gets after a reply that was not read to its end is always the
// same error.
func TestCaptureStaysFailed(t *testing.T) {
	t.Parallel()
	c := newCapture((&resptest.Server{Replies: [][]resptest.Step{resptest.Steps("*1\r\n*3\r\n" + resptest.Reply(2, 1, "x"))}}).Dial(""), &sockets{silence: time.Minute})
	if _, err := io.WriteString(c, "*4\r\n$5\r\nXRead\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n0\r\n"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := c.Read(make([]byte, 100)); n != 0 || err == nil || !strings.Contains(err.Error(), "malformed") {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
}
