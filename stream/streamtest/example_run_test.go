package streamtest_test

import (
	"context"
	"testing"
	"time"

	"millrace/stream"
	"millrace/stream/streamtest"
)

type Payment struct {
	ID string `mapstructure:"id" validate:"required"`
}

var Payments = stream.Topic[Payment]{Name: "payments"}

// crashWithPayment is a test of yours: func TestCrash(t *testing.T).
func crashWithPayment(t *testing.T) {
	t.Parallel()
	streamtest.Run(t, func(t *testing.T, b *streamtest.Bubble) {
		start := func(name string, handle stream.Handler[Payment]) *streamtest.Instance {
			instance := b.NewInstance()
			consumer, err := stream.NewGroupConsumer(instance.Client, Payments, "billing", handle,
				stream.WithConsumerName(name), stream.WithClaimIdle(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			instance.Start(consumer)
			return instance
		}
		producer, err := stream.NewProducer(b.Client, Payments)
		if err != nil {
			t.Fatal(err)
		}
		id, err := producer.Publish(t.Context(), Payment{ID: "A-1"})
		if err != nil {
			t.Fatal(err)
		}

		first := start("first", func(ctx context.Context, _ *stream.Message[Payment]) error {
			<-ctx.Done() // it hangs
			return ctx.Err()
		})
		b.Advance(10 * time.Second)
		first.Crash()

		handled := ""
		start("second", func(_ context.Context, msg *stream.Message[Payment]) error {
			handled = msg.Value.ID
			return nil
		})
		b.Advance(30 * time.Second)
		streamtest.AssertPending(t, b.Client, Payments.Name, "billing", id)
		b.Advance(time.Minute)
		streamtest.AssertAcked(t, b.Client, Payments.Name, "billing", id)
		if handled != "A-1" {
			t.Errorf("handled %q", handled)
		}
	})
}

// A consumer crashes while it handles a payment. Another consumer claims the payment after the
// claim idle time, all within milliseconds.
func ExampleRun() {
	var t *testing.T // your test's
	crashWithPayment(t)
}
