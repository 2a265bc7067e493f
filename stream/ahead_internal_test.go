package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// numbered is a reply with the entries from first to last, whose values are as large
// as is said.
func numbered(protocol, first, last, size int) string {
	reply := aReply(protocol, last-first+1, strings.Repeat("v", size))
	for i := last - first + 1; i > 0; i-- {
		reply = strings.Replace(reply, fmt.Sprintf("*2\r\n$3\r\n%d-0\r\n", i), fmt.Sprintf("*2\r\n$3\r\n%d-0\r\n", first+i-1), 1)
	}
	return reply
}

// eagerReader is a reader that asks ahead, of a canned server.
func eagerReader(t *testing.T, c *canned) *reader {
	t.Helper()
	r := cannedReader(t, c)
	r.sockets.eager = func() bool { return true }
	return r
}

// readBehind reads behind the entry with the given number, three at the most.
func readBehind(r *reader, n int) (ids []string, err error) {
	return readBehindAt(r, n, newPace(everything(""), 3))
}

func readBehindAt(r *reader, n int, p pace) (ids []string, err error) {
	b, err := asker{}.readNow(context.Background(), r, "s", place{id: fmt.Sprintf("%d-0", n), witnessed: true}, p)
	for _, entry := range b.entries {
		ids = append(ids, entry.ID)
	}
	return ids, err
}

// What follows on a full batch is asked for once, and before it is needed.
func TestNextReadIsSentAhead(t *testing.T) {
	t.Parallel()
	protocols(t, func(t *testing.T, protocol int) {
		c := &canned{protocol: protocol, replies: [][]step{
			steps(numbered(protocol, 1, 4, 5)), steps(numbered(protocol, 4, 7, 5)), steps(numbered(protocol, 7, 8, 5)), steps(numbered(protocol, 8, 8, 5)),
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
			if len(c.replies) != read.left {
				t.Errorf("behind %d, %d replies are left, want %d", read.behind, len(c.replies), read.left)
			}
		}
		if c.dialled != 1 {
			t.Errorf("there were %d connections", c.dialled)
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
		"room for all":        {func(p *pace) { p.room = 10_000 }, true},
		"room for some":       {func(p *pace) { p.room = 1000 }, false},
		"a count that is low": {func(p *pace) { p.most, p.steady = 6, false }, false},
	} {
		c := &canned{protocol: 2, replies: [][]step{steps(numbered(2, 1, 4, 200)), steps(numbered(2, 4, 7, 200))}}
		p := newPace(everything(""), 3)
		row.change(&p)
		if _, err := readBehindAt(eagerReader(t, c), 1, p); err != nil {
			t.Fatal(err)
		}
		if ahead := len(c.replies) == 0; ahead != row.ahead {
			t.Errorf("%s: sent ahead is %v", name, ahead)
		}
	}
	p := newPace(intake{room: 10_000}, 8)
	for _, step := range []struct {
		bytes  int64
		steady bool
	}{{100, true}, {5000, false}, {100, false}, {100, true}} {
		p.learn(batch{entries: make([]wireEntry, 1), bytes: step.bytes})
		if p.steady != step.steady {
			t.Errorf("after an entry of %d bytes, COUNT is %d, and steady is %v", step.bytes, p.count, p.steady)
		}
	}
}

// A reply that was sent for ahead, and is not wanted after all, is nobody else's.
func TestReplySentForAheadIsDropped(t *testing.T) {
	t.Parallel()
	protocols(t, func(t *testing.T, protocol int) {
		note := map[int]string{3: ">1\r\n$4\r\nnews\r\n"}[protocol]
		for name, unwanted := range map[string]string{
			"entries": note + numbered(protocol, 4, 7, 5), "an error": note + "-LOADING it is\r\n", "nothing": note + "*-1\r\n",
		} {
			c := &canned{protocol: protocol, replies: [][]step{steps(numbered(protocol, 1, 4, 5)), steps(unwanted), steps(numbered(protocol, 2, 4, 5))}}
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
			if c.dialled != 1 {
				t.Errorf("%s: there were %d connections", name, c.dialled)
			}
		}
	})
}

// A reply that breaks off while it is looked through is told of at once.
func TestReplyBreaksOffWhileItIsLookedThrough(t *testing.T) {
	t.Parallel()
	reply := numbered(2, 1, 4, 5)
	broken := errors.New("broken")
	c := &canned{protocol: 2, replies: [][]step{{{text: reply[:len(reply)/2]}, {err: broken}, {text: reply[len(reply)/2:]}}}}
	if got, err := readBehind(eagerReader(t, c), 1); !errors.Is(err, broken) {
		t.Errorf("read %v, %v", got, err)
	}
}

// Looking through a reply takes nothing of it, however it comes, and tells its end.
func TestOutline(t *testing.T) {
	t.Parallel()
	protocols(t, func(t *testing.T, protocol int) {
		for _, size := range []int{0, 99, 100, wireSize, aheadSize / 3} {
			reply := numbered(protocol, 3, 5, size)
			for _, piece := range []int{1, 7, 1 << 16, 1 << 30} {
				if size > 100 && piece < 100 {
					continue // a minute each
				}
				w := wire{conn: &pieces{data: []byte(reply), size: piece}}
				if err := w.fill(); err != nil {
					t.Fatal(err)
				}
				n, last, ok := (&outline{wire: &w}).entries()
				if fits := len(reply) <= aheadSize; ok != fits || fits && (n != 3 || last != "5-0") {
					t.Errorf("values of %d bytes in pieces of %d: %d, %q, %v", size, piece, n, last, ok)
				}
				rest, err := io.ReadAll(w.conn)
				if got := string(w.unread()) + string(rest); err != nil || got != reply {
					t.Errorf("values of %d bytes in pieces of %d: %d bytes are left, want %d", size, piece, len(got), len(reply))
				}
				if w.at = w.end; cap(w.buf) > wireSize {
					if w.shrink(); w.buf != nil {
						t.Errorf("%d bytes are kept", cap(w.buf))
					}
				}
			}
		}
	})
	for _, other := range []string{"*-1\r\n", "-ERR no\r\n", "*2\r\n", "*1\r\n*3\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*0\r\n", "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*-1\r\n", "nonsense", "\n\n\n", ""} {
		w := wire{conn: bytes.NewReader([]byte(other))}
		if n, last, ok := (&outline{wire: &w}).entries(); ok {
			t.Errorf("%q has %d entries, the last %q", other, n, last)
		}
	}
}
