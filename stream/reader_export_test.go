package stream

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
)

// Reader lets tests from outside read what a reader reads.
type Reader struct{ reader *conn.Reader }

// NewReader derives a reader from a client, for as long as the test runs.
func NewReader(t testing.TB, client redis.UniversalClient) Reader {
	t.Helper()
	r, err := conn.NewReader(context.Background(), client, time.Second, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return Reader{r}
}

// Read returns the entries of all streams.
func (r Reader) Read(ctx context.Context, args *redis.XReadArgs) ([]Entry, error) {
	return flat(r.reader.Read(ctx, args, resp.NoLimit))
}

// ReadGroup returns the entries of all streams.
func (r Reader) ReadGroup(ctx context.Context, args *redis.XReadGroupArgs) ([]Entry, error) {
	return flat(r.reader.ReadGroup(ctx, args, resp.NoLimit))
}

func flat(batches []resp.Batch, err error) (entries []Entry, _ error) {
	for _, one := range batches {
		for _, entry := range one.Entries {
			entries = append(entries, Entry{Stream: one.Stream, ID: entry.ID, Fields: entry.Fields})
		}
	}
	return entries, err
}

// Glances is what is seen of a stream without the fields of its entries.
type Glances struct {
	Info  *redis.XInfoStream
	Next  string // behind a position
	Entry Entry  // the first one behind it, with its fields up to a size
}

// Glance looks at a stream, and fails the test if that does not go the way it
// should.
func Glance(t testing.TB, client redis.UniversalClient, stream, position string, most int64) (seen Glances) {
	t.Helper()
	ctx := context.Background()
	seen.Info = &redis.XInfoStream{}
	if err := conn.SendQuery(ctx, client.Process, func() conn.Query { return conn.QueryInfo(ctx, stream, seen.Info) }); err != nil {
		t.Errorf("XINFO: %v", err)
	}
	var err error
	if seen.Next, err = conn.NextID(ctx, client, stream, position); err != nil {
		t.Errorf("XREAD: %v", err)
	}
	found, err := conn.QueryEntry(ctx, client, most, "xrange", stream, "("+position, "+", "count", 1)
	if err != nil {
		t.Errorf("XRANGE: %v", err)
	}
	seen.Entry = Entry{ID: found.ID, Fields: found.Fields}
	return seen
}
