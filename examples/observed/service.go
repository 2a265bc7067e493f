package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"

	"millrace/middleware"
	"millrace/middleware/otelstream"
	"millrace/middleware/promstream"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/admin"
)

// Order is the event. Its amount is in cents.
type Order struct {
	ID     string `mapstructure:"id" json:"id" validate:"required"`
	Amount int64  `mapstructure:"amount" json:"amount" validate:"gt=0"`
}

var orders = stream.Topic[Order]{Name: "observed:orders"}

// tooMuch is the amount that billing refuses, so that there is a failure to look at.
const tooMuch = 1_000_000

// service has the consumers, the producer, and what tells of them.
type service struct {
	producer *stream.Producer[Order]
	runner   stream.Runner
	registry *prometheus.Registry
	log      *slog.Logger
}

// newService makes everything, and starts nothing.
func newService(client *redis.Client, tracers trace.TracerProvider, log *slog.Logger) (*service, error) {
	tel, err := otelstream.New(otelstream.Config{TracerProvider: tracers})
	if err != nil {
		return nil, err
	}
	metrics, err := promstream.New(promstream.Config{LagEvery: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	s := &service{registry: prometheus.NewRegistry(), log: log}
	s.runner.Logger = log
	if err := errors.Join(metrics.Register(&s.runner), s.registry.Register(metrics)); err != nil {
		return nil, err
	}
	// Tracing is outermost, so that a span has the final outcome; Standard logs inside of it.
	watched := []stream.Option{
		stream.WithLogger(log),
		stream.WithMiddleware(tel.Middleware(), metrics.Middleware(), middleware.Standard(log), tel.Attempts()),
	}
	billing, billingErr := stream.NewGroupConsumer(client, orders, "billing", s.bill, watched...)
	store, storeErr := offset.NewRedis(client, "observed:offsets")
	archive, archiveErr := stream.NewBatchConsumer(client, orders, store, otelstream.Batch(tel, s.archive),
		append(watched, stream.WithLabel("archive"))...)
	producer, producerErr := stream.NewProducer(client, orders,
		stream.WithMaxLen(10_000), stream.WithPublishMiddleware(tel.Publish()))
	if err := errors.Join(billingErr, storeErr, archiveErr, producerErr); err != nil {
		return nil, err
	}
	// The agent shows the consumers to the command line of stream/cmd/millrace, and has them obey it.
	agent, err := admin.NewAgent(client, &s.runner, admin.WithLogger(log))
	if err != nil {
		return nil, err
	}
	s.producer = producer
	s.runner.Add(billing, archive, agent)
	return s, nil
}

// bill handles one order.
func (s *service) bill(ctx context.Context, msg *stream.Message[Order]) error {
	if msg.Value.Amount >= tooMuch {
		return stream.Permanent(errTooMuch)
	}
	// The context has the span: a log handler that knows OpenTelemetry writes its trace ID.
	s.log.DebugContext(ctx, "billed", "entry_id", msg.ID, "trace_id", trace.SpanContextFromContext(ctx).TraceID())
	return nil
}

var errTooMuch = errors.New("billing takes no orders of that size")

// archive handles many orders at once.
func (s *service) archive(ctx context.Context, batch []*stream.Message[Order]) error {
	s.log.DebugContext(ctx, "archived", "orders", len(batch))
	return nil
}

// run runs the consumers and the HTTP server. The server is the last to stop: it tells that
// the consumers are stopping.
func (s *service) run(ctx context.Context, listener net.Listener, demo time.Duration) error {
	server := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second}
	var work sync.WaitGroup
	defer work.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	work.Go(func() {
		served <- server.Serve(listener)
		cancel()
	})
	if demo > 0 {
		work.Go(func() { s.publishOwn(ctx, demo) })
	}
	s.log.Info("serving", "address", listener.Addr().String())
	err := s.runner.Run(ctx)
	cancel() // also if all consumers have failed for good
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	err = errors.Join(err, server.Shutdown(stopping))
	if failed := <-served; !errors.Is(failed, http.ErrServerClosed) {
		err = errors.Join(err, failed)
	}
	return err
}

// routes has the pages. An orchestrator starts the process anew if /healthz fails, and sends no
// requests while /readyz does.
func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		h := s.runner.Health()
		answer(w, h.Live, h.Reason)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		h := s.runner.Health()
		answer(w, h.Ready, h.Reason)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("POST /orders", s.takeOrder)
	return mux
}

func answer(w http.ResponseWriter, well bool, reason string) {
	if !well {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, cmp.Or(reason, "ok"))
}

// takeOrder publishes the order of a request.
func (s *service) takeOrder(w http.ResponseWriter, r *http.Request) {
	var order Order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&order); err != nil {
		http.Error(w, `send an order such as {"id":"A1","amount":990}`, http.StatusBadRequest)
		return
	}
	id, err := s.producer.Publish(r.Context(), order)
	var wrong *stream.EncodeError
	switch {
	case errors.As(err, &wrong):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		s.log.Error("an order was not published", "err", err)
		http.Error(w, "not published; try again", http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintln(w, id)
	}
}

// publishOwn publishes an order each time, and now and then one that billing refuses.
func (s *service) publishOwn(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		order := Order{ID: fmt.Sprintf("demo-%d", n), Amount: int64(n)}
		if n%10 == 0 {
			order.Amount = tooMuch
		}
		if _, err := s.producer.Publish(ctx, order); err != nil && ctx.Err() == nil {
			s.log.Error("an order was not published", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
