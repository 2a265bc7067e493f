package stream_test

import (
	"context"
	"fmt"
	"log"

	"millrace/stream"
)

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
