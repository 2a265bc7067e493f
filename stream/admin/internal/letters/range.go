package letters

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
)

// Range is a part of a stream of dead letters. The zero value is all of it.
type Range struct {
	// Since is the time of the first letter, by its ID, and Before is behind the last one's.
	Since, Before time.Time
	// OlderThan is the least age of a letter, by the server's clock.
	OlderThan time.Duration
	// IDs are those of letters, if not empty.
	IDs []string
}

// idsPage is how many letters are read at once that are given by their IDs.
const idsPage = 50

// span is the range of IDs in which letters are looked for, as XRANGE takes it.
type span struct{ from, to string }

// span returns the range of IDs that is looked at, up to the last letter of this moment: a
// letter that comes later is not chosen. It reports false if there is none.
func (r Range) span(ctx context.Context, client redis.UniversalClient, dead string) (s span, some bool, err error) {
	last, err := conn.FirstOf(ctx, client, "xrevrange", dead, "+", "-")
	if err != nil || last == "" {
		return s, false, err
	}
	before := r.Before
	if r.OlderThan > 0 {
		now, err := client.Time(ctx).Result()
		if err != nil {
			return s, false, err
		}
		if limit := now.Add(-r.OlderThan); before.IsZero() || limit.Before(before) {
			before = limit
		}
	}
	s = span{from: "-", to: last}
	if !r.Since.IsZero() {
		s.from = firstIDAt(r.Since)
	}
	if !before.IsZero() {
		end := firstIDAt(before)
		if end == resp.Beginning {
			return s, false, nil
		}
		if end = resp.Before(end); resp.CompareIDs(end, last) < 0 {
			s.to = end
		}
	}
	return s, s.from == "-" || resp.CompareIDs(s.from, s.to) <= 0, nil
}

// firstIDAt returns the first ID that a letter of that time, or of a later one, can have.
func firstIDAt(t time.Time) string {
	ms := max(0, t.UnixMilli())
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return strconv.FormatInt(ms, 10) + "-0"
}

// Pages returns the entries of the letters' stream that are looked at, in pages and in
// their order.
func (r Range) Pages(ctx context.Context, client redis.UniversalClient, dead string) iter.Seq2[[]entries.Entry, error] {
	return func(yield func([]entries.Entry, error) bool) {
		s, some, err := r.span(ctx, client, dead)
		if err != nil {
			yield(nil, err)
			return
		}
		if !some {
			return
		}
		if len(r.IDs) > 0 {
			r.named(ctx, client, dead, s, yield)
			return
		}
		err = entries.Pages(ctx, client, dead, s.from, s.to, false, func(page []entries.Entry) bool { return yield(page, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// named is Pages where they are given by their IDs.
func (r Range) named(ctx context.Context, client redis.UniversalClient, dead string, s span, yield func([]entries.Entry, error) bool) {
	var ids []offset.ID
	for _, text := range r.IDs {
		id, err := offset.Parse(text)
		if err != nil {
			yield(nil, err)
			return
		}
		if text = id.String(); (s.from == "-" || resp.CompareIDs(text, s.from) >= 0) && resp.CompareIDs(text, s.to) <= 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, offset.ID.Compare)
	for chunk := range slices.Chunk(slices.Compact(ids), idsPage) {
		page, err := entries.ByIDs(ctx, client, dead, chunk)
		if err != nil {
			yield(nil, err)
			return
		}
		if len(page) > 0 && !yield(page, nil) {
			return
		}
	}
}
