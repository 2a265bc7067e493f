package stream_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"millrace/offset"
	"millrace/stream"
)

// A header goes with an entry, and is not the event's.
func ExampleWithHeader() {
	client, closeClient := exampleClient()
	defer closeClient()
	producer, err := stream.NewProducer(client, Signups)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if _, err := producer.Publish(ctx, Signup{UserID: "ada", Plan: "free"}, stream.WithHeader("traceparent", trace)); err != nil {
		log.Fatal(err)
	}
	consumer, err := stream.NewConsumer(client, Signups, &offset.Memory{},
		func(_ context.Context, msg *stream.Message[Signup]) error {
			fmt.Println(msg.Value.UserID, "in the trace", msg.Header("traceparent"))
			cancel()
			return nil
		}, stream.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	if err := consumer.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// ada in the trace 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
}

type tenantKey struct{}

// Middleware of a producer that gives each entry a header, here one with the tenant that
// the context of the call is about.
func ExampleWithPublishMiddleware() {
	client, closeClient := exampleClient()
	defer closeClient()
	withTenant := func(next stream.PublishHandler) stream.PublishHandler {
		return func(ctx context.Context, p *stream.Publishing) error {
			if tenant, ok := ctx.Value(tenantKey{}).(string); ok {
				p.Headers = append(p.Headers, "tenant", tenant)
			}
			return next(ctx, p)
		}
	}
	producer, err := stream.NewProducer(client, Signups, stream.WithPublishMiddleware(withTenant))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.WithValue(context.Background(), tenantKey{}, "acme")
	if _, err := producer.Publish(ctx, Signup{UserID: "ada", Plan: "free"}); err != nil {
		log.Fatal(err)
	}
	for _, entry := range client.XRange(ctx, Signups.Name, "-", "+").Val() {
		fmt.Println(entry.Values["user_id"], "of", entry.Values["tenant"])
	}
	// Output:
	// ada of acme
}
