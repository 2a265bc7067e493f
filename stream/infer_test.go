package stream_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/middleware"
	"millrace/offset"
	"millrace/stream"
)

// The call sites of the README, with no type argument but the topic's. This
// file stops building when a signature breaks inference.

type inferred struct {
	UserID string `mapstructure:"user_id" validate:"required"`
}

var inferredTopic = stream.Topic[inferred]{Name: "user:lifecycle_events"}

func inferredHandler(context.Context, *stream.Message[inferred]) error { return nil }

func _(ctx context.Context, rdb *redis.Client, cluster *redis.ClusterClient, logger *slog.Logger) error {
	store, err := offset.NewRedis(rdb, "")
	if err != nil {
		return err
	}
	consumer, err := stream.NewConsumer(rdb, inferredTopic, store, inferredHandler,
		stream.WithLabel("user_lifecycle"),
		stream.WithMiddleware(
			middleware.Logging(logger),
			middleware.DeadLetter(middleware.DeadLetterConfig{}),
			middleware.Retry(middleware.RetryConfig{Attempts: 5}),
		))
	if err != nil {
		return err
	}
	asJSON := stream.Topic[inferred]{Name: "orders", Codec: codec.JSON[inferred]{}}
	_, err = stream.NewConsumer(cluster, asJSON, &offset.Memory{}, func(_ context.Context, msg *stream.Message[inferred]) error {
		_ = msg.Value.UserID + msg.ID + msg.Header("traceparent")
		return nil
	}, stream.WithMaxEntryBytes(1<<20), stream.WithWindowBytes(64<<20))
	if err != nil {
		return err
	}
	producer, err := stream.NewProducer(rdb, inferredTopic, stream.WithMaxLen(1_000_000))
	if err != nil {
		return err
	}
	output, err := stream.NewOutput(inferredTopic, stream.WithMaxLen(1_000_000))
	if err != nil {
		return err
	}
	counters, err := stream.NewCounters("counters")
	if err != nil {
		return err
	}
	_, err = stream.NewGroupConsumer(rdb, asJSON, "billing", func(ctx context.Context, msg *stream.Message[inferred]) error {
		_ = counters.Add(ctx, msg, "field", 1)
		return output.Publish(ctx, msg, inferred{UserID: "u1"}, stream.WithHeader("traceparent", ""))
	}, stream.WithEffects(output, counters))
	if err != nil {
		return err
	}
	trimmer, err := stream.NewTrimmer(rdb, inferredTopic.Name, stream.WithOffsets(store, inferredTopic.Name))
	if err != nil {
		return err
	}
	relay, err := stream.NewRelay(
		stream.RelayEnd{Client: rdb, Stream: inferredTopic.Name}, stream.RelayEnd{Client: rdb, Stream: "copies"},
		stream.WithLabel("copies"), stream.WithStart(stream.FromEnd()), stream.WithMaxLen(1_000_000))
	if err != nil {
		return err
	}
	var r stream.Runner
	r.Add(trimmer, relay)
	id, err := producer.Publish(ctx, inferred{UserID: "u1"}, stream.WithHeader("traceparent", ""))
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	if _, err := producer.PublishAllOnce(ctx, func(e inferred) string { return e.UserID }, []inferred{{UserID: "u2"}}); err != nil {
		return err
	}
	return consumer.Run(ctx)
}
