package publish

import "context"

// The limits of one chunk, which is one round trip: all of it is in memory, and all of it
// may be unknown when the connection breaks.
const (
	chunkEntries = 1000
	chunkBytes   = 4 << 20
)

// PublishAll adds entries in their order, 0 to count-1. Headers are further pairs, which
// come behind those of each entry. encode returns an entry, or false for one that cannot be
// encoded, which is left out. done is called with the outcome of each of the others.
func (p *Publisher) PublishAll(ctx context.Context, headers []string, count int, encode func(i int) (Entry, bool), done func(i int, outcome Outcome)) {
	for next := 0; next < count; {
		f := p.frame(headers)
		left := min(count-next, chunkEntries)
		chunk := make([]command, 0, left) // never grows: the client points into it
		var memory argMemory
		for size := 0; next < count && len(chunk) < left && size < chunkBytes; next++ {
			entry, ok := encode(next)
			if !ok {
				continue
			}
			how := byHash
			if len(chunk) == 0 {
				how = bySource // the first brings the script along, the others find it
			}
			memory.next = (left - len(chunk)) * (overhead + len(headers) + len(entry.Pairs))
			chunk = append(chunk, command{index: next, piped: true})
			chunk[len(chunk)-1].prepare(ctx, f, entry, how, &memory)
			size += bytesOf(headers) + bytesOf(entry.Pairs)
		}
		if cause := p.exchange(ctx, chunk, done); cause != nil {
			for ; next < count; next++ {
				done(next, Outcome{Fate: NotSent, Err: cause})
			}
		}
	}
}

// exchange sends the commands in one round trip and tells their outcomes. It returns the
// first failure.
func (p *Publisher) exchange(ctx context.Context, chunk []command, done func(i int, outcome Outcome)) (cause error) {
	if len(chunk) == 0 {
		return nil
	}
	if err := checkContext(ctx); err != nil {
		for i := range chunk {
			done(chunk[i].index, Outcome{Err: err})
		}
		return err
	}
	pipe := p.client.Pipeline()
	for i := range chunk {
		_ = pipe.Process(ctx, &chunk[i]) // only queues it
	}
	_, failure := pipe.Exec(ctx)
	for i := range chunk {
		c := &chunk[i]
		err := c.Err()
		if err == nil && c.Val() == "" {
			err = failure // a hook's, which kept all of them from being sent
		}
		outcome := p.outcome(ctx, c, err)
		done(c.index, outcome)
		if cause == nil {
			cause = outcome.Err
		}
	}
	return cause
}

func bytesOf(texts []string) (size int) {
	for _, text := range texts {
		size += len(text)
	}
	return size
}
