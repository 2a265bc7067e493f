//go:build unix

package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// BenchmarkGroupConsumer is BenchmarkConsumer in group mode: next to a bare
// go-redis loop of XREADGROUP COUNT 500 and one XACK per batch, which decodes
// nothing.
func BenchmarkGroupConsumer(b *testing.B) {
	const entries = 100_000
	client := streamtest.StartRedis(b, "--appendonly", "no").Client()
	fillTrades(b, client, entries)

	compare(b, entries,
		func(round int) { bareGroupLoop(b, client, entries, fmt.Sprint("raw-", round)) },
		func(round int) { consumeGroup(b, client, entries, fmt.Sprint("ours-", round)) })
}

func bareGroupLoop(b *testing.B, client *redis.Client, entries int, group string) {
	b.Helper()
	ctx := context.Background()
	if err := client.XGroupCreate(ctx, trades.Name, group, "0").Err(); err != nil {
		b.Fatal(err)
	}
	for read := 0; read < entries; {
		reply, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: "raw", Streams: []string{trades.Name, ">"}, Count: 500, Block: time.Second,
		}).Result()
		if err != nil {
			b.Fatal(err)
		}
		messages := reply[0].Messages
		read += len(messages)
		ids := make([]string, len(messages))
		for i := range messages {
			ids[i] = messages[i].ID
		}
		if err := client.XAck(ctx, trades.Name, group, ids...).Err(); err != nil {
			b.Fatal(err)
		}
	}
}

func consumeGroup(b *testing.B, client *redis.Client, entries int, group string) {
	b.Helper()
	handleAll(b, entries, func(handle stream.Handler[trade]) (*stream.Consumer[trade], error) {
		return stream.NewGroupConsumer(client, trades, group, handle,
			stream.WithReadCount(500), stream.WithLogger(slog.New(slog.DiscardHandler)), usualMiddleware())
	})
	if left := client.XPending(context.Background(), trades.Name, group).Val(); left.Count != 0 {
		b.Fatalf("%d entries are pending afterwards", left.Count)
	}
}
