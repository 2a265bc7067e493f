package resp

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/resp/resptest"
)

// FuzzInfo holds what is read of XINFO STREAM against what go-redis reads.
func FuzzInfo(f *testing.F) {
	entry := "*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
	pairs := "$6\r\nlength\r\n:2\r\n$15\r\nradix-tree-keys\r\n:1\r\n$17\r\nlast-generated-id\r\n$3\r\n5-1\r\n$20\r\nmax-deleted-entry-id\r\n$3\r\n0-0\r\n" +
		"$13\r\nentries-added\r\n:7\r\n$11\r\nfirst-entry\r\n" + entry + "$10\r\nlast-entry\r\n"
	f.Add([]byte("*14\r\n" + pairs + entry))
	f.Add([]byte("%7\r\n" + pairs + entry))
	f.Add([]byte("*14\r\n" + pairs + "$-1\r\n"))
	f.Add([]byte("%7\r\n" + pairs + "_\r\n"))
	f.Add([]byte("%1\r\n$6\r\nlength\r\n:9223372036854775808\r\n"))
	f.Add([]byte("-ERR no such key\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := &redis.XInfoStream{}
		if err := (&Parser{Reader: Reader{Conn: bytes.NewReader(data)}}).Info(got); err != nil {
			return // go-redis may even be out of memory then
		}
		c := &resptest.Server{Protocol: 2, Replies: [][]resptest.Step{resptest.Steps(string(data))}}
		opts := c.Options()
		opts.Dialer = func(_ context.Context, _, addr string) (net.Conn, error) { return c.Dial(addr), nil }
		client := redis.NewClient(opts)
		defer func() { _ = client.Close() }()
		theirs, err := client.XInfoStream(t.Context(), "s").Result()
		if err != nil {
			return // it looks at what is passed over
		}
		want := redis.XInfoStream{
			Length: theirs.Length, EntriesAdded: theirs.EntriesAdded, LastGeneratedID: theirs.LastGeneratedID, MaxDeletedEntryID: theirs.MaxDeletedEntryID,
		}
		want.FirstEntry.ID, want.LastEntry.ID = theirs.FirstEntry.ID, theirs.LastEntry.ID
		if plain := *got; plain.FirstEntry.Values != nil || plain.LastEntry.Values != nil || !sameInfo(plain, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

func sameInfo(a, b redis.XInfoStream) bool {
	return a.Length == b.Length && a.EntriesAdded == b.EntriesAdded && a.LastGeneratedID == b.LastGeneratedID && a.MaxDeletedEntryID == b.MaxDeletedEntryID &&
		a.FirstEntry.ID == b.FirstEntry.ID && a.LastEntry.ID == b.LastEntry.ID
}
