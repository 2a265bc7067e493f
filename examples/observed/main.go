// Command observed is a service that can be watched: its consumers run in a Runner, it has
// /healthz and /readyz for an orchestrator and /metrics for Prometheus, and each order is one
// trace, from the request to the handlers. It stops gracefully on SIGTERM.
//
// It needs no server: without -redis it brings one in memory along. Try
//
//	go run . -traces
//	curl -d '{"id":"A1","amount":990}' localhost:8080/orders
//	curl localhost:8080/metrics
//
// The dashboard and the alert rules for /metrics are beside package promstream.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"millrace/stream/streamtest"
)

// settings are the flags.
type settings struct {
	redis  string
	listen string
	traces bool
	ratio  float64
	demo   time.Duration
}

func main() {
	var s settings
	flag.StringVar(&s.redis, "redis", "", "`URL` of a Redis to use, such as redis://127.0.0.1:6379; without it one in memory")
	flag.StringVar(&s.listen, "listen", "127.0.0.1:8080", "`address` of the HTTP server")
	flag.BoolVar(&s.traces, "traces", false, "write traces to the standard output; without it they are dropped")
	flag.Float64Var(&s.ratio, "ratio", 1, "which part of the traces is sampled, from 0 to 1")
	flag.DurationVar(&s.demo, "demo", 0, "publish an order of its own each `time`, such as 100ms; 0 is none")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", s.listen)
	if err == nil {
		err = run(ctx, s, listener, os.Stdout, log)
	}
	if err != nil {
		log.Error("observed: " + err.Error())
		os.Exit(1)
	}
}

// run serves until ctx is done. It closes the listener.
func run(ctx context.Context, s settings, listener net.Listener, out io.Writer, log *slog.Logger) (err error) {
	defer listener.Close()
	client, closeClient, err := connect(s.redis)
	if err != nil {
		return err
	}
	defer closeClient()
	tracers, err := newTracers(s, out)
	if err != nil {
		return err
	}
	// The last spans are exported after the consumers have stopped, which is later than ctx.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err = errors.Join(err, tracers.Shutdown(ctx))
	}()
	service, err := newService(client, tracers, log)
	if err != nil {
		return err
	}
	return service.run(ctx, listener, s.demo)
}

// connect returns a client, and the function that closes it and the server in memory.
func connect(url string) (*redis.Client, func(), error) {
	closeServer := func() {}
	if url == "" {
		server, err := miniredis.Run()
		if err != nil {
			return nil, nil, err
		}
		streamtest.CountAsRedis(server)
		url, closeServer = "redis://"+server.Addr(), server.Close
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, nil, fmt.Errorf("-redis: give a URL such as redis://127.0.0.1:6379") // err may hold the password
	}
	client := redis.NewClient(options)
	return client, func() { _ = client.Close(); closeServer() }, nil
}

// newTracers returns the provider of traces. A real service has an OTLP exporter here.
func newTracers(s settings, out io.Writer) (*sdktrace.TracerProvider, error) {
	options := []sdktrace.TracerProviderOption{sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(s.ratio)))}
	if s.traces {
		exporter, err := stdouttrace.New(stdouttrace.WithWriter(out))
		if err != nil {
			return nil, err
		}
		options = append(options, sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(time.Second)))
	}
	return sdktrace.NewTracerProvider(options...), nil
}
