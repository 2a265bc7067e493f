package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// bareLog is the measure of log mode: it reads n entries as fast as go-redis can,
// decodes nothing, and keeps nothing.
func bareLog(ctx context.Context, client *redis.Client, key string, n int) error {
	last, read := "0-0", 0
	for read < n {
		reply, err := client.XRead(ctx, &redis.XReadArgs{Streams: []string{key, last}, Count: batch, Block: time.Second}).Result()
		if err != nil {
			return fmt.Errorf("after %d of %d entries: %w", read, n, err)
		}
		messages := reply[0].Messages
		read += len(messages)
		last = messages[len(messages)-1].ID
	}
	return nil
}

// bareGroup is the measure of group mode: one XACK per batch, and nothing decoded.
func bareGroup(ctx context.Context, client *redis.Client, key, group string, n int) error {
	if err := client.XGroupCreate(ctx, key, group, "0").Err(); err != nil {
		return err
	}
	for read := 0; read < n; {
		reply, err := client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: "bare", Streams: []string{key, ">"}, Count: batch, Block: time.Second,
		}).Result()
		if err != nil {
			return fmt.Errorf("after %d of %d entries: %w", read, n, err)
		}
		messages := reply[0].Messages
		read += len(messages)
		ids := make([]string, len(messages))
		for i := range messages {
			ids[i] = messages[i].ID
		}
		if err := client.XAck(ctx, key, group, ids...).Err(); err != nil {
			return err
		}
	}
	return allAcked(ctx, client, key, group)
}

// barePublish adds entries whose texts are ready, in one pipeline.
func barePublish(ctx context.Context, client *redis.Client, key string, ready [][]string) error {
	pipe := client.Pipeline()
	for _, pairs := range ready {
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: key, MaxLen: maxLen, Approx: true, Values: pairs})
	}
	_, err := pipe.Exec(ctx)
	return err
}
