package stream

import (
	"context"
	"errors"
	"fmt"
)

// Published is what became of one of the values given to [Producer.PublishAll].
type Published struct {
	// ID is the entry's ID, empty if Err is not nil.
	ID string
	// Err is what Publish would have returned for the value.
	Err error
}

// What one round trip of PublishAll holds at the most: all of it is in memory,
// and all of it may be unknown when the connection breaks.
const (
	chunkEntries = 1000
	chunkBytes   = 4 << 20
)

// publishAll publishes what encode returns for 0 to count-1.
func (p *publisher) publishAll(ctx context.Context, count int, encode func(i int) (outgoing, error)) ([]Published, error) {
	results := make([]Published, count)
	for next := 0; next < count; {
		f := p.frame()
		left := min(count-next, chunkEntries)
		chunk := make([]write, 0, left) // never grows: the commands point into it
		var memory argMemory
		for size := 0; next < count && len(chunk) < left && size < chunkBytes; next++ {
			entry, err := encode(next)
			if err != nil {
				results[next].Err = err
				continue
			}
			how := byHash
			if len(chunk) == 0 {
				how = bySource // the first brings the script along, the others find it
			}
			memory.next = (left - len(chunk)) * (10 + len(entry.pairs))
			chunk = append(chunk, write{result: &results[next]})
			p.prepare(ctx, &chunk[len(chunk)-1], f, entry, how, &memory)
			for _, text := range entry.pairs {
				size += len(text)
			}
		}
		if cause := p.exchange(ctx, chunk); cause != nil {
			for i := range results[next:] {
				results[next+i].Err = fmt.Errorf("stream: not sent to %s, because publishing failed before: %w", p.stream, cause)
			}
			break
		}
	}
	return results, summary(results)
}

// exchange sends the writes in one round trip and fills in their results. It
// returns the first failure.
func (p *publisher) exchange(ctx context.Context, chunk []write) (cause error) {
	if len(chunk) == 0 {
		return nil
	}
	if err := checkContext(ctx); err != nil {
		for i := range chunk {
			chunk[i].result.Err = p.notWritten(err)
		}
		return err
	}
	pipe := p.client.Pipeline()
	for i := range chunk {
		_ = pipe.Process(ctx, &chunk[i]) // only queues it
	}
	_, failure := pipe.Exec(ctx)
	for i := range chunk {
		w := &chunk[i]
		err := w.Err()
		if err == nil && w.Val() == "" {
			err = failure // a hook's, which kept all of them from being sent
		}
		w.result.ID, w.result.Err = p.outcome(ctx, w, err)
		if cause == nil {
			cause = errors.Unwrap(w.result.Err)
		}
	}
	return cause
}

// summary returns the error of PublishAll, which wraps the one of the results
// that asks for the most care.
func summary(results []Published) error {
	var gravest error
	var unknown *UnknownWriteError
	failed := 0
	for _, result := range results {
		if result.Err == nil {
			continue
		}
		failed++
		if gravest == nil || unknown == nil && errors.As(result.Err, &unknown) {
			gravest = result.Err
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%w (%d of %d values were not published)", gravest, failed, len(results))
}
