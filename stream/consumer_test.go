package stream_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

func TestConsumerDeliversAllInOrderAndResumes(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	store, err := offset.NewRedis(client, "")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	var last string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
		last = add(t, client, fmt.Sprint(i))
	}
	first := newRecorder()
	stop := start(t, newConsumer(t, client, store, first.Handle, stream.WithReadCount(7)))
	if seen := first.await(t, 50); !slices.Equal(seen, want) {
		t.Errorf("delivered %v, want %v", seen, want)
	}
	if err := stop(); err != nil {
		t.Errorf("Run returned %v on a clean stop", err)
	}
	if id, found, err := store.Load(t.Context(), "orders"); id != last || !found || err != nil {
		t.Errorf("the stored offset is %q, %v, %v, want %q", id, found, err, last)
	}

	// A second consumer goes on where the first stopped.
	add(t, client, "next")
	second := newRecorder()
	start(t, newConsumer(t, client, store, second.Handle))
	if seen := second.await(t, 1); !slices.Equal(seen, []string{"next"}) {
		t.Errorf("after the restart %v was delivered, want only what came after", seen)
	}
}

func TestConsumerCanRunAgainButNotTwiceAtOnce(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	rec := newRecorder()
	consumer := newConsumer(t, client, &offset.Memory{}, rec.Handle)
	stop := start(t, consumer)
	add(t, client, "a")
	rec.await(t, 1)
	if err := consumer.Run(t.Context()); !errors.Is(err, stream.ErrRunning) {
		t.Errorf("the second Run returned %v, want ErrRunning", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	add(t, client, "b")
	start(t, consumer)
	if seen := rec.await(t, 2); !slices.Equal(seen, []string{"a", "b"}) {
		t.Errorf("delivered %v", seen)
	}
}

func TestMessageHasEntryAndValue(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	id := addFields(t, client, "id", "x", "amount", "42", "other", "y")
	got := make(chan *stream.Message[order], 1)
	start(t, newConsumer(t, client, &offset.Memory{}, func(_ context.Context, msg *stream.Message[order]) error {
		got <- msg
		return nil
	}))
	msg := <-got
	if msg.ID != id || msg.Stream != "orders" || msg.Deliveries != 1 || msg.Value != (order{ID: "x", Amount: 42}) || !reflect.DeepEqual(msg.Fields, codec.FieldsOf("id", "x", "amount", "42", "other", "y")) {
		t.Errorf("got %+v", msg)
	}
}

func TestConsumerLeavesTheClientToItsOwner(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	// One connection is all that the user has; a blocked reader must not take it.
	client := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: 1, MaxActiveConns: 1})
	defer func() { _ = client.Close() }()
	rec := newRecorder()
	stop := start(t, newConsumer(t, client, &offset.Memory{}, rec.Handle))
	for i := range 20 {
		add(t, client, fmt.Sprint(i))
		rec.await(t, i+1)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after Run the client does not work: %v", err)
	}
	streamtest.Await(t, "the reader's connection is closed", func() bool {
		list, err := client.ClientList(t.Context()).Result()
		return err == nil && strings.Count(list, "\n") == 1
	})
}

func TestNewConsumerReportsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	type unfit struct {
		C chan int `mapstructure:"c"`
	}
	var noClient *redis.Client
	var noStore *offset.Memory
	_, err := stream.NewConsumer[unfit](noClient, stream.Topic[unfit]{Name: " "}, noStore, nil,
		stream.WithLabel("\t"), stream.WithBlock(0), stream.WithReadCount(0),
		stream.WithStart(stream.FromID("$")), stream.WithBackoff(stream.Backoff{Min: -1}),
		stream.WithMiddleware(nil, func(stream.EntryHandler) stream.EntryHandler { return nil }),
	)
	if !errors.Is(err, stream.ErrInvalidOption) {
		t.Fatalf("got %v, want ErrInvalidOption", err)
	}
	for _, name := range []string{
		"client", "Topic.Name", "Topic.Codec", "store", "handler",
		`WithLabel("\t")`, "WithBlock(0s)", "WithReadCount(0)", `FromID("$")`, "WithBackoff(-1ns", "WithMiddleware: number 2",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not in the error:\n%v", name, err)
		}
	}
	ring := redis.NewRing(&redis.RingOptions{})
	defer func() { _ = ring.Close() }()
	if _, err := stream.NewConsumer(ring, orders, &offset.Memory{}, newRecorder().Handle); !errors.Is(err, stream.ErrInvalidOption) {
		t.Errorf("a ring was accepted, error %v", err)
	}
}

func TestBlockBelowAMillisecondIsRefused(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	for _, block := range []string{"-1s", "0", "1ns", "500us", "999999ns"} {
		t.Run(block, func(t *testing.T) {
			t.Parallel()
			_, err := stream.NewConsumer(client, orders, &offset.Memory{}, newRecorder().Handle, stream.WithBlock(parse(t, block)))
			if !errors.Is(err, stream.ErrInvalidOption) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRunRefusesNoContext(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	defer func() { _ = client.Close() }()
	//nolint:staticcheck // the mistake is what is tested
	if err := newConsumer(t, client, &offset.Memory{}, newRecorder().Handle).Run(nil); err == nil {
		t.Error("Run(nil) returned nil")
	}
}

func TestAPanickingCodecIsADecodeError(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	add(t, client, "a")
	id := add(t, client, "b")
	var out logs
	topic := stream.Topic[order]{Name: orders.Name, Codec: panicking{}}
	store := &offset.Memory{}
	consumer, err := stream.NewConsumer(client, topic, store, newRecorder().Handle, stream.WithLogger(out.Logger()))
	if err != nil {
		t.Fatal(err)
	}
	stop := start(t, consumer)
	streamtest.Await(t, "both are passed", func() bool { return len(out.lines("WARN", "cannot be decoded")) == 2 })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if saved, _, _ := store.Load(t.Context(), "orders"); saved != id {
		t.Errorf("the offset is %q, want %q", saved, id)
	}
}

type panicking struct{}

func (panicking) Decode(codec.Fields) (order, error) { panic("no") }
func (panicking) Encode(order) ([]string, error)     { return nil, nil }
