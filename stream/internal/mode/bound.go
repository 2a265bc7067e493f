package mode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
)

// ErrOver is the result of a fetch that finds nothing left to be read up to the bound.
var ErrOver = errors.New("everything up to the bound was read")

// Bound is the place up to which a Run reads, that entry included. It belongs to the goroutine
// that reads. A nil Bound is none.
type Bound struct {
	start Start
	at    string // empty until Find
	// closed is set once no entry can be added up to the bound.
	closed bool
	// cut is set once a read has brought entries behind the bound.
	cut bool
}

// NewBound returns the bound at a place, which is not looked up yet.
func NewBound(s Start) *Bound { return &Bound{start: s} }

// At returns the ID of the bound.
func (b *Bound) At() string { return b.at }

// Find looks up the place, once: the end is that of the first time.
func (b *Bound) Find(ctx context.Context, of loss.Stream) error {
	switch {
	case b.at != "":
	case b.start.After != nil:
		b.at = *b.start.After
	case b.start.End:
		info, err := of.Info(ctx)
		if conn.Classify(err).Class == conn.Gone {
			info, err = &redis.XInfoStream{LastGeneratedID: resp.Beginning}, nil
		}
		if err != nil {
			return fmt.Errorf("looking up the end of %s: %w", of.Name, err)
		}
		b.at, b.closed = info.LastGeneratedID, true
	default:
		b.at, b.closed = resp.Beginning, true
	}
	return nil
}

// Cut takes the entries behind the bound out of a batch, which may be empty then, and reports
// whether there were some.
func (b *Bound) Cut(batch *resp.Batch) (over bool) {
	if b == nil || resp.CompareIDs(batch.LastID(), b.at) <= 0 {
		return false
	}
	for n := len(batch.Left); n > 0 && resp.CompareIDs(batch.Left[n-1].ID, b.at) > 0; n-- {
		batch.Left = batch.Left[:n-1]
	}
	for n := len(batch.Entries); n > 0 && resp.CompareIDs(batch.Entries[n-1].ID, b.at) > 0; n-- {
		batch.Entries[n-1] = resp.Entry{} // the memory of the batch is used again
		batch.Entries = batch.Entries[:n-1]
	}
	b.cut = true
	return true
}

// IsCut reports whether a read has brought entries behind the bound: those that were taken are
// all up to there.
func (b *Bound) IsCut() bool { return b.cut }

// Passed reports whether the stream has no entry behind a position and up to the bound, and will
// have none.
func (b *Bound) Passed(ctx context.Context, of loss.Stream, position string) (bool, error) {
	if resp.CompareIDs(position, b.at) >= 0 {
		return true, nil
	}
	if !b.closed {
		next, err := firstOf(ctx, of, resp.After(b.at), "+")
		if err != nil || next == "" && !b.isPast(time.Now()) {
			return false, err
		}
		b.closed = true
	}
	next, err := firstOf(ctx, of, resp.After(position), b.at)
	return err == nil && next == "", err
}

// isPast reports whether the bound is a time that has passed, by the clock here: on a stream that
// gets no more entries, nothing else would tell.
func (b *Bound) isPast(now time.Time) bool {
	id, err := offset.Parse(b.at)
	return err == nil && id.Seq == math.MaxUint64 && now.UnixMilli() > int64(id.Ms) //nolint:gosec // a time was made of it
}

// firstOf returns the ID of the first entry between two, empty if there is none.
func firstOf(ctx context.Context, of loss.Stream, from, to string) (string, error) {
	id, err := conn.FirstOf(ctx, of.Client, "xrange", of.Name, from, to)
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", fmt.Errorf("looking for entries of %s up to %s: %w", of.Name, to, err)
	}
	return id, nil
}
