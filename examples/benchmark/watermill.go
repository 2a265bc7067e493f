package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
)

// tradeMessage makes a message of an entry at the least cost: what the handler uses
// is the payload, the other fields are left alone. Watermill's own marshaller, which
// makes JSON or other bytes a field, would leave the decoding to the handler.
type tradeMessage struct{}

func (tradeMessage) Unmarshal(values map[string]any) (*message.Message, error) {
	id, _ := values["trade_id"].(string)
	quantity, _ := values["quantity"].(string)
	return message.NewMessage(id, message.Payload(quantity)), nil
}

// watermillConsume handles trades 0 to n-1 with watermill-redisstream at its
// defaults: without a group in fan-out mode, which keeps no position, else with an
// ack for each entry. There must be no more in the stream: in fan-out mode its first
// read fetches all of it, and uses the first entry.
func (b *bench) watermillConsume(ctx context.Context, key, group string, n int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, stallLimit)
	defer cancel()
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:         b.newClient(), // closed by Close
		Unmarshaller:   tradeMessage{},
		ConsumerGroup:  group,
		OldestId:       "0",
		FanOutOldestId: "0",
	}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, subscriber.Close()) }()
	messages, err := subscriber.Subscribe(ctx, key)
	if err != nil {
		return err
	}
	var handled tally
	for handled.trades < n {
		msg, open := <-messages
		if !open {
			return fmt.Errorf("ended after %d of %d entries", handled.trades, n)
		}
		quantity, err := strconv.ParseInt(string(msg.Payload), 10, 64)
		if err != nil {
			return err
		}
		handled.add(quantity)
		msg.Ack()
	}
	if err := handled.check(n); err != nil || group == "" {
		return err
	}
	// The last ack is on its way, and Close would not wait for it.
	for {
		err := allAcked(ctx, b.client, key, group)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// watermillPublish adds messages whose payloads are ready, one XADD each.
func watermillPublish(publisher *redisstream.Publisher, key string, payloads [][]byte) error {
	messages := make([]*message.Message, len(payloads))
	for i, payload := range payloads {
		messages[i] = message.NewMessage(watermill.NewUUID(), payload)
	}
	return publisher.Publish(key, messages...)
}
