package stream_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// An entry is about to be delivered again, and waits until what is done is acked, which
// never works: a consumer that is to stop does so nevertheless.
func TestStopsWhileAnEntryWaitsForAcks(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		handle := func(_ context.Context, msg *stream.Message[order]) error {
			if msg.Value.ID == "fails" {
				return errors.New("not yet")
			}
			return nil
		}
		acks := &noAcks{}
		client.AddHook(acks)
		again := stream.WithBackoff(stream.Backoff{Min: 100 * time.Millisecond, Max: 100 * time.Millisecond})
		consumer := newGroup(t, client, handle, stream.WithConcurrency(2), again)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- consumer.Run(ctx) }()
		time.Sleep(time.Second)
		add(t, client, "is done")
		add(t, client, "fails")
		time.Sleep(5 * time.Second)
		if tried, failed := acks.tried.Load(), consumer.Stats().Failed; tried < 2 || failed != 1 {
			t.Errorf("acks were tried %d times, and %d deliveries failed; the test shows nothing", tried, failed)
		}
		begun := time.Now()
		stop()
		if err := <-done; err == nil {
			t.Error("Run returned no error, and yet nothing could be acked")
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("Run took %v to return", took)
		}
	})
}

// noAcks is a client whose acks take their time, and fail.
type noAcks struct {
	inert
	tried atomic.Int64
}

func (h *noAcks) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "xack" {
			return next(ctx, cmd)
		}
		h.tried.Add(1)
		time.Sleep(time.Second)
		err := errors.New("no ack is possible")
		cmd.SetErr(err)
		return err
	}
}
