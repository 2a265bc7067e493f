package feed

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/resp/resptest"
)

// eagerReader is a reader that asks ahead, of a canned server.
func eagerReader(t *testing.T, c *resptest.Server) *conn.Reader {
	t.Helper()
	r := cannedReader(t, c)
	r.Sockets.Eager = func() bool { return true }
	return r
}

// readBehind reads behind the entry with the given number, three at the most.
func readBehind(r *conn.Reader, n int) (ids []string, err error) {
	return readBehindAt(r, n, newPace(resp.NoLimit(""), 3))
}

func readBehindAt(r *conn.Reader, n int, p pace) (ids []string, err error) {
	b, err := asker{}.readNow(context.Background(), r, "s", resp.Place{ID: fmt.Sprintf("%d-0", n), Seen: true}, p)
	for _, entry := range b.Entries {
		ids = append(ids, entry.ID)
	}
	return ids, err
}

// What follows on a full batch is asked for once, and before it is needed.
func TestNextReadIsSentAhead(t *testing.T) {
	t.Parallel()
	resptest.Protocols(t, func(t *testing.T, protocol int) {
		c := &resptest.Server{Protocol: protocol, Replies: [][]resptest.Step{
			resptest.Steps(resptest.Numbered(protocol, 1, 4, 5)), resptest.Steps(resptest.Numbered(protocol, 4, 7, 5)), resptest.Steps(resptest.Numbered(protocol, 7, 8, 5)), resptest.Steps(resptest.Numbered(protocol, 8, 8, 5)),
		}}
		r := eagerReader(t, c)
		for _, read := range []struct {
			behind, left int
			want         []string
		}{
			{1, 2, []string{"2-0", "3-0", "4-0"}}, // the one behind it is on its way
			{4, 1, []string{"5-0", "6-0", "7-0"}},
			{7, 1, []string{"8-0"}}, // not full: what follows is waited for
			{8, 0, nil},
		} {
			got, err := readBehind(r, read.behind)
			if err != nil || !reflect.DeepEqual(got, read.want) {
				t.Errorf("behind %d there is %v, %v, want %v", read.behind, got, err, read.want)
			}
			if len(c.Replies) != read.left {
				t.Errorf("behind %d, %d replies are left, want %d", read.behind, len(c.Replies), read.left)
			}
		}
		if c.Dialled != 1 {
			t.Errorf("there were %d connections", c.Dialled)
		}
	})
}

// Nothing is sent ahead that the next read may not be: where what has come may not
// all be kept, and where the next read may ask for more or less.
func TestNothingIsSentAheadWhileEntriesAreLarge(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*pace)
		ahead  bool
	}{
		"room for all":        {func(p *pace) { p.Room = 10_000 }, true},
		"room for some":       {func(p *pace) { p.Room = 1000 }, false},
		"a count that is low": {func(p *pace) { p.most, p.Steady = 6, false }, false},
	} {
		c := &resptest.Server{Protocol: 2, Replies: [][]resptest.Step{resptest.Steps(resptest.Numbered(2, 1, 4, 200)), resptest.Steps(resptest.Numbered(2, 4, 7, 200))}}
		p := newPace(resp.NoLimit(""), 3)
		row.change(&p)
		if _, err := readBehindAt(eagerReader(t, c), 1, p); err != nil {
			t.Fatal(err)
		}
		if ahead := len(c.Replies) == 0; ahead != row.ahead {
			t.Errorf("%s: sent ahead is %v", name, ahead)
		}
	}
	p := newPace(resp.Budget{Room: 10_000}, 8)
	for _, step := range []struct {
		bytes  int64
		steady bool
	}{{100, true}, {5000, false}, {100, false}, {100, true}} {
		p.learn(resp.Batch{Entries: make([]resp.Entry, 1), Bytes: step.bytes})
		if p.Steady != step.steady {
			t.Errorf("after an entry of %d bytes, COUNT is %d, and steady is %v", step.bytes, p.count, p.Steady)
		}
	}
}

// A reply that was sent for ahead, and is not wanted after all, is nobody else's.
func TestReplySentForAheadIsDropped(t *testing.T) {
	t.Parallel()
	resptest.Protocols(t, func(t *testing.T, protocol int) {
		note := map[int]string{3: ">1\r\n$4\r\nnews\r\n"}[protocol]
		for name, unwanted := range map[string]string{
			"entries": note + resptest.Numbered(protocol, 4, 7, 5), "an error": note + "-LOADING it is\r\n", "nothing": note + "*-1\r\n",
		} {
			c := &resptest.Server{Protocol: protocol, Replies: [][]resptest.Step{resptest.Steps(resptest.Numbered(protocol, 1, 4, 5)), resptest.Steps(unwanted), resptest.Steps(resptest.Numbered(protocol, 2, 4, 5))}}
			r := eagerReader(t, c)
			if _, err := readBehind(r, 1); err != nil {
				t.Fatal(err)
			}
			if pong, err := r.Ping(t.Context()).Result(); err != nil || pong != "OK" {
				t.Errorf("behind %s another command has %q, %v", name, pong, err)
			}
			if got, err := readBehind(r, 2); err != nil || !reflect.DeepEqual(got, []string{"3-0", "4-0"}) {
				t.Errorf("behind %s another read has %v, %v", name, got, err)
			}
			if c.Dialled != 1 {
				t.Errorf("%s: there were %d connections", name, c.Dialled)
			}
		}
	})
}

// A reply that breaks off while it is looked through is told of at once.
func TestReplyBreaksOffWhileItIsLookedThrough(t *testing.T) {
	t.Parallel()
	reply := resptest.Numbered(2, 1, 4, 5)
	broken := errors.New("broken")
	c := &resptest.Server{Protocol: 2, Replies: [][]resptest.Step{{{Text: reply[:len(reply)/2]}, {Err: broken}, {Text: reply[len(reply)/2:]}}}}
	if got, err := readBehind(eagerReader(t, c), 1); !errors.Is(err, broken) {
		t.Errorf("read %v, %v", got, err)
	}
}
