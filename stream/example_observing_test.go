package stream_test

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// A health check of all consumers in a process.
func ExampleRunner_Health() {
	client, closeClient := exampleClient()
	defer closeClient()
	consumer, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(context.Context, *stream.Message[Signup]) error { return nil },
		stream.WithBlock(10*time.Millisecond), stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	var r stream.Runner
	r.Add(consumer)

	ready := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if h := r.Health(); !h.Ready {
			http.Error(w, h.Reason, http.StatusServiceUnavailable)
		}
	})
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		ready(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}

	fmt.Println(ask())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	for !r.Health().Ready { // the first read has to come back
		time.Sleep(time.Millisecond)
	}
	fmt.Println(ask())
	cancel()
	running.Wait()
	// Output:
	// 503 signups as "signups": not running
	// 200
}

// Stats as a variable of package expvar, at /debug/vars.
func ExampleConsumer_Stats() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379"})
	defer func() { _ = client.Close() }()
	consumer, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(context.Context, *stream.Message[Signup]) error { return nil })
	if err != nil {
		log.Fatal(err)
	}
	expvar.Publish(consumer.String(), expvar.Func(func() any { return consumer.Stats() }))

	var published stream.Stats
	if err := json.Unmarshal([]byte(expvar.Get(consumer.String()).String()), &published); err != nil {
		log.Fatal(err)
	}
	fmt.Println(published.Handled, "handled,", published.LagTime, "behind")
	// Output: 0 handled, 0s behind
}

// counter counts deliveries by how they ended, for all consumers that it is given to.
type counter struct {
	ends [16]atomic.Int64 // by outcome
	time atomic.Int64
}

func (c *counter) OnEnd(e stream.DeliveryEnded) {
	c.ends[e.Outcome].Add(1)
	c.time.Add(int64(e.Duration))
}

func ExampleWithObserver() {
	client, closeClient := exampleClient()
	defer closeClient()
	for i, plan := range []string{"free", "paid", "gold", "free"} {
		client.XAdd(context.Background(), &redis.XAddArgs{Stream: Signups.Name, ID: fmt.Sprintf("%d-0", i+1), Values: []string{"user_id", "ada", "plan", plan}})
	}

	ctx, cancel := context.WithCancel(context.Background())
	counts, last := &counter{}, "4-0"
	consumer, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(_ context.Context, msg *stream.Message[Signup]) error {
			if msg.ID == last {
				cancel()
			}
			if msg.Value.Plan == "paid" {
				return stream.Skip("billed elsewhere")
			}
			return nil
		},
		stream.WithObserver(counts), stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		log.Fatal(err)
	}
	for _, outcome := range []stream.Outcome{stream.OutcomeHandled, stream.OutcomeSkipped, stream.OutcomeAbsorbed} {
		fmt.Println(counts.ends[outcome].Load(), outcome)
	}
	// Output:
	// 2 handled
	// 1 skipped
	// 1 absorbed
}
