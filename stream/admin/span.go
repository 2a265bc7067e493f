package admin

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/internal/conn"
)

// Span is a part of a stream. The zero value is the whole stream. A Span is a plain value, safe
// for concurrent use.
type Span struct {
	from, to Place
	bounded  bool // to counts
	age      time.Duration
	last     int64
}

// Since returns the entries of so long ago until now, by the clock of the server.
func Since(age time.Duration) Span { return Span{age: age} }

// Last returns the last n entries. They are in memory together.
func Last(n int64) Span { return Span{last: n} }

// Between returns the entries from a place up to another one, both included. A place that is a
// time is there with its whole millisecond.
func Between(from, to Place) Span { return Span{from: from, to: to, bounded: true} }

// problem returns why there is no such part.
func (s Span) problem() error {
	switch {
	case s.age < 0:
		return fmt.Errorf("%w: Since(%v): give how long ago it began", stream.ErrInvalidOption, s.age)
	case s.last < 0:
		return fmt.Errorf("%w: Last(%d): give how many entries", stream.ErrInvalidOption, s.last)
	}
	return nil
}

// Entries returns entries of a stream, with their fields in order, by ID. Those that are added
// after the call are not among them. The error wraps [ErrNoTopic] if there is no such stream; it
// is the last thing that is returned.
func (a *Admin) Entries(ctx context.Context, name string, span Span) iter.Seq2[stream.Entry, error] {
	return func(yield func(stream.Entry, error) bool) {
		if err := a.entries(ctx, name, span, func(e stream.Entry) bool { return yield(e, nil) }); err != nil {
			yield(stream.Entry{}, explain("reading "+name, err))
		}
	}
}

func (a *Admin) entries(ctx context.Context, name string, span Span, yield func(stream.Entry) bool) error {
	if err := span.problem(); err != nil {
		return err
	}
	client, err := conn.PrimaryOf(ctx, a.client, name)
	if err != nil {
		return err
	}
	info, err := infoOf(ctx, client, name)
	if err != nil {
		return err
	}
	if span.last > 0 {
		return lastEntries(ctx, client, name, info.LastGeneratedID, span.last, yield)
	}
	from, to := span.from.from(), info.LastGeneratedID
	if span.bounded && span.to.to() != "+" {
		to = span.to.to()
	}
	if span.age > 0 {
		now, err := client.Time(ctx).Result()
		if err != nil {
			return err
		}
		from = AtTime(now.Add(-span.age)).from()
	}
	return entries.Pages(ctx, client, name, from, to, false, func(page []entries.Entry) bool {
		for _, e := range page {
			if !yield(e.In(name)) {
				return false
			}
		}
		return true
	})
}

// lastEntries returns the last entries in their order.
func lastEntries(ctx context.Context, client redis.UniversalClient, name, last string, n int64, yield func(stream.Entry) bool) error {
	var all []stream.Entry
	err := entries.Pages(ctx, client, name, "-", last, true, func(page []entries.Entry) bool {
		for _, e := range page[:min(int64(len(page)), n-int64(len(all)))] {
			all = append(all, e.In(name))
		}
		return int64(len(all)) < n
	})
	for _, e := range slices.Backward(all) {
		if err != nil || !yield(e) {
			break
		}
	}
	return err
}

// infoOf returns XINFO STREAM, without the fields of entries.
func infoOf(ctx context.Context, client redis.UniversalClient, name string) (*redis.XInfoStream, error) {
	info := &redis.XInfoStream{}
	err := conn.SendQuery(ctx, client.Process, func() conn.Query { return conn.QueryInfo(ctx, name, info) })
	if err == conn.ErrUnread { //nolint:errorlint // our own, never wrapped
		return client.XInfoStream(ctx, name).Result()
	}
	return info, err
}

// generatedOf returns the last ID that a stream has given; a stream that does not exist has none.
func generatedOf(info *redis.XInfoStream) (id offset.ID) {
	if info != nil {
		id, _ = offset.Parse(info.LastGeneratedID)
	}
	return id
}
