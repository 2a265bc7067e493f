package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// newProducer makes a producer of orders that fails the test if it cannot.
func newProducer(t testing.TB, client redis.UniversalClient, opts ...stream.ProducerOption) *stream.Producer[order] {
	t.Helper()
	producer, err := stream.NewProducer(client, orders, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return producer
}

// stored returns the IDs of the orders in the stream, in its order.
func stored(t testing.TB, client redis.UniversalClient) (ids []string) {
	t.Helper()
	entries, err := client.XRange(context.Background(), orders.Name, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		ids = append(ids, entry.Values["id"].(string))
	}
	return ids
}

func ordersOf(count int) []order {
	values := make([]order, count)
	for i := range values {
		values[i] = order{ID: fmt.Sprint(i), Amount: i}
	}
	return values
}

func TestWhatIsPublishedIsConsumed(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	topic := stream.Topic[trade]{Name: "trades"}
	want := trade{TradeID: "t\x00\r\n", Account: "a", Symbol: "", Side: "buy", Quantity: 1, Price: 0.1, Margin: true, At: time.UnixMilli(1_700_000_000_001).UTC()}
	want.Symbol = "M\u00fcll"
	producer, err := stream.NewProducer(client, topic)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, publish := range []func() (string, error){
		func() (string, error) { return producer.Publish(t.Context(), want) },
		func() (string, error) { return producer.PublishOnce(t.Context(), "key", want) },
	} {
		id, err := publish()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	got := make(chan *stream.Message[trade], 2)
	consumer, err := stream.NewConsumer(client, topic, &offset.Memory{}, func(_ context.Context, msg *stream.Message[trade]) error {
		got <- msg
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	start(t, consumer)
	for _, id := range ids {
		if msg := <-got; msg.Value != want || msg.ID != id {
			t.Errorf("consumed %s %+v, published %s %+v", msg.ID, msg.Value, id, want)
		}
	}
}

func TestFieldsAreWrittenInTheOrderOfTheirDeclaration(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	producer := newProducer(t, client)
	for range 20 {
		if _, err := producer.Publish(t.Context(), order{ID: "a", Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	reply, err := client.Do(t.Context(), "XRANGE", orders.Name, "-", "+").Slice()
	if err != nil || len(reply) != 20 {
		t.Fatal(len(reply), err)
	}
	for _, entry := range reply {
		if got := fmt.Sprint(entry.([]any)[1]); got != "[id a amount 1]" {
			t.Errorf("an entry is %s", got)
		}
	}
}

func TestAValueThatBreaksItsRulesIsNotWritten(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	topic := stream.Topic[trade]{Name: "trades"}
	producer, err := stream.NewProducer(client, topic)
	if err != nil {
		t.Fatal(err)
	}
	bad := trade{TradeID: "s3cr3t-id", Account: "s3cr3t" + strings.Repeat("x", 64), Symbol: "M", Side: "s3cr3t", Quantity: -77, Price: 1, At: time.UnixMilli(1)}
	publish := map[string]func() error{
		"Publish":     func() error { _, err := producer.Publish(t.Context(), bad); return err },
		"PublishOnce": func() error { _, err := producer.PublishOnce(t.Context(), "s3cr3t-key", bad); return err },
		"PublishAll":  func() error { _, err := producer.PublishAll(t.Context(), []trade{bad}); return err },
		"PublishAllOnce": func() error {
			_, err := producer.PublishAllOnce(t.Context(), func(trade) string { return "s3cr3t" }, []trade{bad})
			return err
		},
	}
	for name, call := range publish {
		err := call()
		encode, isEncode := errors.AsType[*stream.EncodeError](err)
		fields, isFields := errors.AsType[codec.FieldErrors](err)
		if !isEncode || encode.Stream != "trades" || !isFields || len(fields) != 3 {
			t.Errorf("%s: got %v", name, err)
		}
		if text := fmt.Sprint(err); strings.Contains(text, "s3cr3t") || strings.Contains(text, "77") || !strings.HasPrefix(text, "stream: ") {
			t.Errorf("%s: the text is %q", name, text)
		}
	}
	if keys, err := client.Keys(t.Context(), "*").Result(); len(keys) != 0 || err != nil {
		t.Errorf("there are keys %v, %v", keys, err)
	}
}

func TestACodecThatMisbehavesIsAnEncodeError(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	for name, encode := range map[string]func() ([]string, error){
		"panics":  func() ([]string, error) { panic("no") },
		"odd":     func() ([]string, error) { return []string{"id"}, nil },
		"nothing": func() ([]string, error) { return nil, nil },
	} {
		producer, err := stream.NewProducer(client, stream.Topic[order]{Name: orders.Name, Codec: encoding{encode}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := producer.Publish(t.Context(), order{ID: "a"}); !isEncodeError(err) {
			t.Errorf("%s: got %v", name, err)
		}
		if results, err := producer.PublishAll(t.Context(), ordersOf(2)); !isEncodeError(err) || !isEncodeError(results[1].Err) {
			t.Errorf("%s: got %v, %v", name, results, err)
		}
	}
	if n := len(stored(t, client)); n != 0 {
		t.Errorf("%d entries were written", n)
	}
}

func isEncodeError(err error) bool {
	_, is := errors.AsType[*stream.EncodeError](err)
	return is
}

type encoding struct{ encode func() ([]string, error) }

func (encoding) Decode(codec.Fields) (order, error)       { return order{}, nil }
func (e encoding) Encode(order) (pairs []string, _ error) { return e.encode() }

func TestPublishFromManyGoroutines(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: 1, MaxActiveConns: 1})
	defer func() { _ = client.Close() }()
	producer := newProducer(t, client, stream.WithMaxLen(1_000_000))
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := range 20 {
				value := order{ID: fmt.Sprint(worker, "-", i), Amount: i}
				_, err := producer.Publish(t.Context(), value)
				if i%3 == 1 {
					_, err = producer.PublishOnce(t.Context(), value.ID, value)
				}
				if i%3 == 2 {
					_, err = producer.PublishAll(t.Context(), []order{value, value})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, want := len(stored(t, client)), 16*(20+7+2*6); n != want {
		t.Errorf("%d entries, want %d", n, want)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client does not work any more: %v", err)
	}
}

func TestPublishAllReportsOnEachValue(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	producer := newProducer(t, client)
	const count = 10_000
	values := ordersOf(count)
	bad := []int{0, 1, 999, 1000, 5001, count - 1}
	for _, i := range bad {
		values[i].ID = ""
	}
	results, err := producer.PublishAll(t.Context(), values)
	if !isEncodeError(err) || !strings.Contains(fmt.Sprint(err), "6 of 10000 values") || len(results) != count {
		t.Fatalf("%d results, error %v", len(results), err)
	}
	entries, err := client.XRange(t.Context(), orders.Name, "-", "+").Result()
	if err != nil || len(entries) != count-len(bad) {
		t.Fatal(len(entries), err)
	}
	for i, result := range results {
		if slices.Contains(bad, i) {
			if result.ID != "" || !isEncodeError(result.Err) {
				t.Errorf("value %d: %+v", i, result)
			}
			continue
		}
		if result.Err != nil || result.ID != entries[0].ID || entries[0].Values["id"] != values[i].ID {
			t.Fatalf("value %d: %+v, entry %+v", i, result, entries[0])
		}
		entries = entries[1:]
	}
	if results, err := producer.PublishAll(t.Context(), nil); len(results) != 0 || err != nil {
		t.Errorf("of no values: %v, %v", results, err)
	}
}

func TestALargePublishAllIsSentInParts(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	counter := &pipelineCounter{}
	client.AddHook(counter)
	producer := newProducer(t, client)
	values := ordersOf(30)
	for i := range values {
		values[i].ID = strings.Repeat("x", 1<<20)
	}
	if _, err := producer.PublishAll(t.Context(), values); err != nil {
		t.Fatal(err)
	}
	if _, err := producer.PublishAll(t.Context(), ordersOf(2500)); err != nil {
		t.Fatal(err)
	}
	if want := []int{4, 4, 4, 4, 4, 4, 4, 2, 1000, 1000, 500}; !slices.Equal(counter.sizes, want) {
		t.Errorf("sent in parts of %v, want %v", counter.sizes, want)
	}
}

// pipelineCounter is a hook that notes the sizes of pipelines.
type pipelineCounter struct {
	sizes []int
	after func() // is called after each, unless nil
}

func (*pipelineCounter) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*pipelineCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *pipelineCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "xadd" {
			c.sizes = append(c.sizes, len(cmds))
		}
		err := next(ctx, cmds)
		if c.after != nil {
			c.after()
		}
		return err
	}
}

func TestEncodeReturnsWhatAProducerWrites(t *testing.T) {
	t.Parallel()
	got, err := orders.Encode(order{ID: "7", Amount: 8}, stream.WithHeader("traceparent", "t"))
	if want := []string{"id", "7", "amount", "8", "traceparent", "t"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Encode = %q, %v; want %q", got, err, want)
	}
	var encoding *stream.EncodeError
	if _, err := (stream.Topic[order]{Name: " "}).Encode(order{ID: "7"}); !errors.As(err, &encoding) {
		t.Errorf("a blank name: %v", err)
	}
	if _, err := orders.Encode(order{ID: "7"}, stream.WithHeader("id", "8")); !errors.As(err, &encoding) {
		t.Errorf("a header with the name of a field: %v", err)
	}
}
