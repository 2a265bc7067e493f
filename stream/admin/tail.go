package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/internal/conn"
)

// tailBlock is how long a read waits, and so how long Tail goes on after its context has ended.
const tailBlock = 500 * time.Millisecond

// tailPage is how many entries of each stream a read brings at most.
const tailPage = 100

// Tail returns the entries that are added to streams from now on, as they come. A stream need
// not exist yet. It ends within half a second after ctx, or with an error, which is the last
// thing that is returned: call it again to go on, from then on. Meanwhile it takes a connection
// of the client's pool, in a cluster one for each stream.
func (a *Admin) Tail(ctx context.Context, names ...string) iter.Seq2[stream.Entry, error] {
	return func(yield func(stream.Entry, error) bool) {
		if len(names) == 0 {
			yield(stream.Entry{}, fmt.Errorf("%w: Tail: give the name of a stream", stream.ErrInvalidOption))
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		tails, err := a.newTails(ctx, names)
		if err != nil {
			if ctx.Err() == nil {
				yield(stream.Entry{}, explain("reading the ends of the streams", err))
			}
			cancel()
			return
		}
		found := make(chan tailed)
		ended := make(chan struct{}, len(tails))
		for _, t := range tails {
			go func() {
				t.run(ctx, found)
				ended <- struct{}{}
			}()
		}
		defer func() {
			cancel()
			for range tails {
				<-ended
			}
		}()
		for {
			select {
			case <-ctx.Done():
				return
			case one := <-found:
				if !yield(one.entry, one.err) || one.err != nil {
					return
				}
			}
		}
	}
}

// tailed is an entry, or the failure of a read.
type tailed struct {
	entry stream.Entry
	err   error
}

// tail is the reading of streams that one command can read.
type tail struct {
	client redis.UniversalClient
	names  []string
	last   []string // the last ID of each that is passed
}

func (a *Admin) newTails(ctx context.Context, names []string) ([]*tail, error) {
	_, cluster := a.client.(*redis.ClusterClient)
	var tails []*tail
	for i, name := range names {
		client, err := conn.PrimaryOf(ctx, a.client, name)
		if err != nil {
			return nil, err
		}
		info, err := infoOf(ctx, client, name)
		if err != nil && conn.Classify(err).Class != conn.Gone {
			return nil, err
		}
		last := generatedOf(info).String()
		if cluster || i == 0 {
			tails = append(tails, &tail{client: client})
		}
		t := tails[len(tails)-1]
		t.names, t.last = append(t.names, name), append(t.last, last)
	}
	return tails, nil
}

// run reads until ctx ends, or a read fails.
func (t *tail) run(ctx context.Context, found chan<- tailed) {
	tell := func(one tailed) bool {
		select {
		case found <- one:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for ctx.Err() == nil {
		entries, err := t.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			tell(tailed{err: explain("reading new entries", err)})
			return
		}
		for _, e := range entries {
			if !tell(tailed{entry: e}) {
				return
			}
		}
	}
}

func (t *tail) read(ctx context.Context) (list []stream.Entry, err error) {
	args := []any{"xread", "count", tailPage, "block", tailBlock.Milliseconds(), "streams"}
	for _, name := range t.names {
		args = append(args, name)
	}
	for _, last := range t.last {
		args = append(args, last)
	}
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetFirstKeyPos(6)
	_ = t.client.Process(ctx, cmd) // it has the error, too
	reply, err := cmd.Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i, name := range t.names {
		page, ok := pageOf(reply, name)
		if !ok {
			continue
		}
		found, err := entries.Scan(page)
		if err != nil {
			return nil, err
		}
		for _, entry := range found {
			t.last[i] = entry.ID
			list = append(list, entry.In(name))
		}
	}
	return list, nil
}

// pageOf returns the entries of one stream in a reply to XREAD, which is a map or, before
// RESP3, a list of pairs.
func pageOf(reply any, name string) (page []any, found bool) {
	switch reply := reply.(type) {
	case map[any]any:
		page, found = reply[name].([]any)
	case []any:
		for _, each := range reply {
			if pair, _ := each.([]any); len(pair) == 2 && pair[0] == name {
				page, found = pair[1].([]any)
			}
		}
	}
	return page, found
}
