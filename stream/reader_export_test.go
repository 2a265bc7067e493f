package stream

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Reader lets tests from outside read what a reader reads.
type Reader struct{ reader *reader }

// NewReader derives a reader from a client, for as long as the test runs.
func NewReader(t testing.TB, client redis.UniversalClient) Reader {
	t.Helper()
	r, err := newReader(context.Background(), client, time.Second, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return Reader{r}
}

// Read returns the entries of all streams.
func (r Reader) Read(ctx context.Context, args *redis.XReadArgs) ([]Entry, error) {
	return flat(r.reader.read(ctx, args))
}

// ReadGroup returns the entries of all streams.
func (r Reader) ReadGroup(ctx context.Context, args *redis.XReadGroupArgs) ([]Entry, error) {
	return flat(r.reader.readGroup(ctx, args))
}

func flat(batches []batch, err error) (entries []Entry, _ error) {
	for _, one := range batches {
		entries = append(entries, one.entries...)
	}
	return entries, err
}
