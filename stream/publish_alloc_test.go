//go:build !race

package stream_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// accepting is a hook in place of a server that accepts every write.
type accepting struct{}

func (accepting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (accepting) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		cmd.(interface{ SetVal(string) }).SetVal("1-1")
		return nil
	}
}

func (a accepting) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			_ = a.ProcessHook(nil)(ctx, cmd)
		}
		return nil
	}
}

// wide has more bytes than a closure captures by value.
type wide struct {
	A, B, C, D, E, F, G, H, I, J string
}

// Without middleware and options a producer allocates as much as before there were any.
func TestPublishAllocations(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer func() { _ = client.Close() }()
	client.AddHook(accepting{})
	producer := newProducer(t, client, stream.WithMaxLen(1000))
	large, err := stream.NewProducer(client, stream.Topic[wide]{Name: "large"})
	if err != nil {
		t.Fatal(err)
	}
	values, key := ordersOf(10), func(o order) string { return o.ID }
	for name, test := range map[string]struct {
		most float64
		call func() error
	}{
		"Publish":             {8, func() error { _, err := producer.Publish(t.Context(), values[0]); return err }},
		"Publish of much":     {6, func() error { _, err := large.Publish(t.Context(), wide{A: "a"}); return err }},
		"PublishOnce":         {12, func() error { _, err := producer.PublishOnce(t.Context(), "k", values[0]); return err }},
		"PublishOnce of much": {10, func() error { _, err := large.PublishOnce(t.Context(), "k", wide{A: "a"}); return err }},
		"PublishAll":          {37, func() error { _, err := producer.PublishAll(t.Context(), values); return err }},
		"PublishAllOnce":      {77, func() error { _, err := producer.PublishAllOnce(t.Context(), key, values); return err }},
	} {
		n := testing.AllocsPerRun(100, func() {
			if err := test.call(); err != nil {
				t.Error(err)
			}
		})
		if n > test.most {
			t.Errorf("%s: %v allocations, want at most %v", name, n, test.most)
		}
	}
}
