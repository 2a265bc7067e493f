package stream_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

func TestNothingIsTrimmedByDefault(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--stream-node-max-entries", "10").Client()
	publishEachWay(t, newProducer(t, client), 500)
	if n := len(stored(t, client)); n != 1000 {
		t.Errorf("%d entries remain, want all", n)
	}
}

func TestMaxLen(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--stream-node-max-entries", "10").Client()
	publishEachWay(t, newProducer(t, client, stream.WithMaxLen(55)), 500)
	// Whole nodes of 10 are dropped: at least 55 stay, at most a node more.
	if n := len(stored(t, client)); n <= 55 || n > 65 {
		t.Errorf("%d entries remain", n)
	}
}

func TestExactMaxLen(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--stream-node-max-entries", "10").Client()
	publishEachWay(t, newProducer(t, client, stream.WithExactMaxLen(55)), 500)
	if n := len(stored(t, client)); n != 55 {
		t.Errorf("%d entries remain", n)
	}
}

func TestMinIDAge(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--stream-node-max-entries", "10").Client()
	for _, age := range []time.Duration{3 * time.Hour, time.Hour} {
		for i := range 100 {
			id := fmt.Sprintf("%d-%d", time.Now().Add(-age).UnixMilli(), i)
			if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: id, Values: []string{"id", age.String(), "amount", "1"}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		age      time.Duration
		old, new int
	}{
		{200 * 365 * 24 * time.Hour, 100, 100}, // a time before 1970, which is no ID
		{4 * time.Hour, 100, 100},
		{2 * time.Hour, 0, 100},
	} {
		publishEachWay(t, newProducer(t, client, stream.WithMinIDAge(test.age)), 1)
		all := strings.Join(stored(t, client), " ")
		if old, new := strings.Count(all, "3h"), strings.Count(all, "1h"); old != test.old || new != test.new {
			t.Errorf("age %v: %d of 3h and %d of 1h remain, want %d and %d", test.age, old, new, test.old, test.new)
		}
	}
}

// publishEachWay publishes n values without and n with a key.
func publishEachWay(t *testing.T, producer *stream.Producer[order], n int) {
	t.Helper()
	values := ordersOf(n)
	prefix := fmt.Sprint(time.Now().UnixNano())
	if _, err := producer.PublishAll(t.Context(), values); err != nil {
		t.Fatal(err)
	}
	if _, err := producer.PublishAllOnce(t.Context(), func(o order) string { return prefix + o.ID }, values); err != nil {
		t.Fatal(err)
	}
}

func TestNewProducerReportsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	type unfit struct {
		C chan int `mapstructure:"c"`
	}
	var noClient *redis.Client
	_, err := stream.NewProducer(noClient, stream.Topic[unfit]{Name: " "}, nil,
		stream.WithMaxLen(0), stream.WithExactMaxLen(-1), stream.WithMinIDAge(999*time.Microsecond),
		stream.WithIdempotencyWindow(0))
	if !errors.Is(err, stream.ErrInvalidOption) {
		t.Fatalf("got %v, want ErrInvalidOption", err)
	}
	for _, text := range []string{
		"client", "Topic.Name", "Topic.Codec", "WithMaxLen(0)", "WithExactMaxLen(-1)", "WithMinIDAge(999",
		"WithMaxLen and WithExactMaxLen and WithMinIDAge: give one", "WithIdempotencyWindow(0s)",
	} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in the error:\n%v", text, err)
		}
	}
}

func TestProducerOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	for name, opts := range map[string][]stream.ProducerOption{
		"zero":            {stream.WithMaxLen(0)},
		"negative":        {stream.WithMaxLen(-5)},
		"zero, exact":     {stream.WithExactMaxLen(0)},
		"negative, exact": {stream.WithExactMaxLen(-5)},
		"no age":          {stream.WithMinIDAge(0)},
		"negative age":    {stream.WithMinIDAge(-time.Hour)},
		"no window":       {stream.WithIdempotencyWindow(0)},
		"negative window": {stream.WithIdempotencyWindow(-time.Hour)},
		"two rules":       {stream.WithMaxLen(5), stream.WithMinIDAge(time.Hour)},
		"about and exact": {stream.WithMaxLen(5), stream.WithExactMaxLen(5)},
	} {
		if _, err := stream.NewProducer(client, orders, opts...); !errors.Is(err, stream.ErrInvalidOption) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// A later option replaces an earlier one of its kind.
	if _, err := stream.NewProducer(client, orders, stream.WithMaxLen(0), stream.WithMaxLen(5)); err != nil {
		t.Error(err)
	}
	ring := redis.NewRing(&redis.RingOptions{})
	defer func() { _ = ring.Close() }()
	if _, err := stream.NewProducer(ring, orders); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("a ring was accepted, error %v", err)
	}
}
