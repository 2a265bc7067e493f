package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/redis/go-redis/v9"
)

// startOld starts the consumer that is there before: Watermill's, in the group.
func startOld(ctx context.Context, client redis.UniversalClient, books *ledger) (*redisstream.Subscriber, error) {
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: group, OldestId: "0",
	}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	messages, err := subscriber.Subscribe(ctx, payments.Name)
	if err != nil {
		return nil, err
	}
	go func() {
		for msg := range messages {
			var payment Payment
			if json.Unmarshal(msg.Payload, &payment) == nil {
				books.book("Watermill", payment.ID)
			}
			msg.Ack()
		}
	}()
	return subscriber, nil
}

// ledger counts who has booked which payment. mu guards the rest.
type ledger struct {
	mu       sync.Mutex
	payments map[string]int // how often each was booked
	by       map[string]int
}

func (l *ledger) book(who, payment string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.payments == nil {
		l.payments, l.by = map[string]int{}, map[string]int{}
	}
	l.payments[payment]++
	l.by[who]++
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.payments)
}

func (l *ledger) twice() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for times := range maps.Values(l.payments) {
		n += times - 1
	}
	return n
}

func (l *ledger) both() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by["Watermill"] > 100 && l.by["millrace"] > 0
}

func (l *ledger) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for _, who := range slices.Sorted(maps.Keys(l.by)) {
		all = append(all, fmt.Sprintf("%s %d", who, l.by[who]))
	}
	return fmt.Sprint(all)
}

// wait waits until n payments are booked.
func (l *ledger) wait(ctx context.Context, n int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.count() < n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d payments are booked: %w", l.count(), n, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}
