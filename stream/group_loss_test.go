package stream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// lossObserver keeps the losses that it is told of.
type lossObserver struct {
	mu   sync.Mutex
	list []stream.LossError
}

func (o *lossObserver) OnLoss(_ stream.Identity, err error) {
	var loss *stream.LossError
	o.mu.Lock()
	defer o.mu.Unlock()
	if errors.As(err, &loss) {
		o.list = append(o.list, *loss)
	}
}

func (o *lossObserver) get() []stream.LossError {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]stream.LossError(nil), o.list...)
}

// of returns those with a cause.
func (o *lossObserver) of(cause stream.LossCause) []stream.LossError {
	return slices.DeleteFunc(o.get(), func(loss stream.LossError) bool { return loss.Cause != cause })
}

// A consumer that is removed from the group keeps what it has in hand, be it at work,
// not begun, or waiting to be delivered again, and handles all of it; and it is
// pending on it again, in case that it does not come to it.
func TestRemovedConsumerKeepsWhatItHolds(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	ids := make(map[string]string)
	for _, name := range []string{"fails", "is at work", "a", "b", "c", "is given up"} {
		ids[name] = add(t, client, name)
	}
	told := &lossObserver{}
	hold := make(chan struct{})
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		switch {
		case msg.Value.ID == "fails" && msg.Deliveries < 3:
			return errors.New("not yet")
		case msg.Value.ID == "is at work":
			<-hold
		case msg.Value.ID == "is given up":
			return &stream.DeadLetterError{Err: errors.New("no")}
		}
		return nil
	}
	consumer := newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithClaimIdle(300*time.Millisecond),
		stream.WithConsumerName("me"), stream.WithBackoff(stream.Backoff{Min: time.Second, Max: time.Second}))
	stop := start(t, consumer)
	rec.await(t, 2)
	if n := client.XGroupDelConsumer(t.Context(), orders.Name, "billing", "me").Val(); n != 6 {
		t.Fatalf("%d entries were pending", n)
	}
	streamtest.Await(t, "the loss is told", func() bool { return len(told.get()) > 0 })
	streamtest.AssertPending(t, client, orders.Name, "billing", slices.Collect(maps.Values(ids))...)
	close(hold)
	rec.await(t, 8)
	settled(t, client)
	if err := stop(); err != nil {
		t.Error(err)
	}
	streamtest.AssertDeadLettered(t, client, stream.DeadLetterStream(orders.Name), ids["is given up"])
	handled := rec.Seen()
	slices.Sort(handled)
	if want := []string{"a", "b", "c", "fails", "fails", "fails", "is at work", "is given up"}; !slices.Equal(handled, want) {
		t.Errorf("handled %q, want %q", handled, want)
	}
	want := stream.LossError{
		Stream: orders.Name, Group: "billing", Cause: stream.LossConsumer, From: ids["fails"], To: ids["is given up"], Count: -1,
	}
	if list := told.get(); len(list) != 1 || list[0] != want {
		t.Errorf("told %+v, want %+v", list, want)
	}
}

// It does so whatever comes first after the removal: an entry that is due again, or a
// dead letter.
func TestRemovedConsumerBeforeItIsNoticed(t *testing.T) {
	t.Parallel()
	for _, outcome := range []string{"again", "dead letter"} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			client := streamtest.StartRedis(t, "--appendonly", "no").Client()
			id := add(t, client, "a")
			told := &lossObserver{}
			rec := newRecorder()
			rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
				if msg.Deliveries > 1 {
					return nil
				}
				client.XGroupDelConsumer(context.Background(), orders.Name, "billing", "me")
				if outcome == "dead letter" {
					return &stream.DeadLetterError{Err: errors.New("no")}
				}
				return errors.New("not yet")
			}
			consumer := newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithConsumerName("me"),
				stream.WithBackoff(stream.Backoff{Min: time.Millisecond, Max: time.Millisecond}))
			start(t, consumer)
			streamtest.Await(t, "it is done", func() bool {
				stats := consumer.Stats()
				return stats.DeadLettered+stats.Handled == 1 && stats.Window == 0
			})
			settled(t, client)
			if outcome == "dead letter" {
				streamtest.AssertDeadLettered(t, client, stream.DeadLetterStream(orders.Name), id)
			}
			if list := told.get(); len(list) != 1 || list[0].Cause != stream.LossConsumer {
				t.Errorf("told %+v", list)
			}
		})
	}
}

// When the reply to the step that writes a dead letter and acks is lost, the entry is
// pending on nobody, too: it is neither written twice nor taken for lost.
func TestGroupDeadLetterWhoseReplyIsLost(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	client := server.Client()
	id := add(t, client, "a")
	proxy := streamtest.StartProxy(t, server.Addr)
	proxy.OnRequest("return 'moved'", func() {
		proxy.OnRequest("", nil)
		proxy.CutReply("return 'moved'", 0)
	})
	told := &lossObserver{}
	consumer := newGroup(t, proxy.Client(), func(context.Context, *stream.Message[order]) error {
		return &stream.DeadLetterError{Err: errors.New("no")}
	}, stream.WithObserver(told))
	start(t, consumer)
	streamtest.Await(t, "it is done", func() bool {
		stats := consumer.Stats()
		return stats.DeadLettered == 1 && stats.Window == 0
	})
	settled(t, client)
	streamtest.AssertDeadLettered(t, client, stream.DeadLetterStream(orders.Name), id)
	if list := told.get(); len(list) > 0 || consumer.Stats().LastError == "" {
		t.Errorf("told %+v; the last error is %q", list, consumer.Stats().LastError)
	}
}

// An entry that somebody acks by hand, to be rid of it, is given up, and nothing is
// lost by that.
func TestGroupEntryAckedByHand(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	poison := add(t, client, "poison")
	add(t, client, "is at work")
	told := &lossObserver{}
	hold := make(chan struct{})
	rec := newRecorder()
	rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
		if msg.Value.ID == "poison" {
			return errors.New("no")
		}
		<-hold
		return nil
	}
	consumer := newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithClaimIdle(300*time.Millisecond),
		stream.WithBackoff(stream.Backoff{Min: time.Hour, Max: time.Hour}))
	start(t, consumer)
	rec.await(t, 2)
	if err := client.XAck(t.Context(), orders.Name, "billing", poison).Err(); err != nil {
		t.Fatal(err)
	}
	streamtest.Await(t, "it is given up", func() bool { return consumer.Stats().Held == 0 })
	close(hold)
	settled(t, client)
	if list := told.get(); len(list) > 0 {
		t.Errorf("told %+v", list)
	}
	if n := client.Exists(t.Context(), stream.DeadLetterStream(orders.Name)).Val(); n != 0 || len(rec.Seen()) != 2 {
		t.Errorf("delivered %v", rec.Seen())
	}
}

// Two consumers of one group tell a loss once, and the group's lag is right again.
func TestGroupLossIsToldOnce(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	told := &lossObserver{}
	rec := newRecorder()
	run := func() []func() error {
		var stops []func() error
		for range 2 {
			stops = append(stops, start(t, newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithBlock(20*time.Millisecond), stream.WithClaimIdle(40*time.Millisecond))))
		}
		return stops
	}
	stops := run()
	for i := range 10 {
		add(t, client, fmt.Sprint(i))
	}
	rec.await(t, 10)
	settled(t, client)
	for _, stop := range stops {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		add(t, client, fmt.Sprint(i))
	}
	if err := client.XTrimMaxLen(t.Context(), orders.Name, 4).Err(); err != nil {
		t.Fatal(err)
	}
	run()
	rec.await(t, 14)
	settled(t, client)
	streamtest.Await(t, "the loss is told and the lag is right", func() bool {
		return len(told.get()) > 0 && client.XInfoGroups(t.Context(), orders.Name).Val()[0].Lag == 0
	})
	for i := range 5 {
		add(t, client, fmt.Sprint(i))
	}
	rec.await(t, 19)
	settled(t, client)
	if list := told.get(); len(list) != 1 || list[0].Count != 16 {
		t.Errorf("told %+v, want one loss of at most 16", list)
	}
}

// While an entry is held, its stream is deleted and made again with another entry of the
// same ID. The ack of the one is that of the other, too, which nobody handles: it is told
// as lost, whether the entry that is held is at work or not begun.
func TestGroupLossOfAnEntryWithAnIDThatIsHeld(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, client *redis.Client) {
		fixed(t, client, "a", "b", "c")
		told := &lossObserver{}
		rec := newRecorder()
		rec.handle = func(context.Context, *stream.Message[order]) error {
			time.Sleep(time.Minute)
			return nil
		}
		stop := start(t, newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithClaimIdle(time.Hour)))
		time.Sleep(time.Second)
		// In one step: the consumer sees nothing but the IDs. The third entry is the same.
		_, err := client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
			tx.Del(t.Context(), orders.Name)
			tx.XGroupCreateMkStream(t.Context(), orders.Name, "billing", "0")
			for i, id := range []string{"longer", "B", "c"} {
				tx.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: fmt.Sprintf("%d-0", i+1), Values: []string{"id", id, "amount", "1"}})
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		want := stream.LossError{Stream: orders.Name, Group: "billing", Cause: stream.LossReplaced, From: "1-0", To: "2-0", Count: 2, Exact: true}
		if list := told.of(stream.LossReplaced); len(list) != 1 || list[0] != want {
			t.Errorf("told %+v, want %+v", told.get(), want)
		}
		time.Sleep(5 * time.Minute)
		if seen := rec.Seen(); !slices.Equal(seen, []string{"a", "b", "c"}) {
			t.Errorf("handled %v", seen)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// The stream and its group go back to what they were, as after a restart that has lost the
// last entries, and no read fails of it. A look around tells it, and when a read fails
// afterwards it is not told again.
func TestGroupStreamThatGoesBackIsToldOnce(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	told := &lossObserver{}
	rec := newRecorder()
	start(t, newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithBlock(20*time.Millisecond), stream.WithClaimIdle(40*time.Millisecond)))
	var last, before string
	for round := range 2 {
		before = client.Dump(t.Context(), orders.Name).Val() // with five entries, in the end
		for i := range 5 {
			last = add(t, client, fmt.Sprint(i))
		}
		rec.await(t, 5*(round+1))
		settled(t, client)
	}
	pass(3 * time.Second) // it looks around meanwhile, and knows how many there were
	if err := client.RestoreReplace(t.Context(), orders.Name, 0, before).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told", func() bool { return len(told.get()) > 0 })
	if err := client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	add(t, client, "new")
	rec.await(t, 11)
	settled(t, client)
	if list := told.get(); len(list) != 1 || list[0].Cause != stream.LossAhead || list[0].From != last {
		t.Errorf("told %+v, want one loss from %s, with the place ahead of the stream", list, last)
	}
}

// A group that was made or set at a place in the middle without a count of what it has read is
// told of entries that were added and trimmed in one step while its only consumer waited, though
// that was before the consumer has looked around for the first time.
func TestGroupLossBehindAnUnknownCount(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"made", "set"} {
		for _, shared := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/shared=%v", how, shared), func(t *testing.T) {
				t.Parallel()
				client := streamtest.StartRedis(t, "--appendonly", "no").Client()
				fixed(t, client, "a", "b", "c", "d")
				place := "2-0"
				if how == "set" {
					place = "0"
				}
				err := client.XGroupCreate(t.Context(), orders.Name, "billing", place).Err()
				if how == "set" && err == nil {
					err = client.XGroupSetID(t.Context(), orders.Name, "billing", "2-0").Err()
				}
				if err != nil {
					t.Fatal(err)
				}
				told, rec := &lossObserver{}, newRecorder()
				consumer := newGroup(t, client, rec.Handle, stream.WithObserver(told), stream.WithBlock(200*time.Millisecond), stream.WithClaimIdle(time.Minute))
				var run runner = consumer
				if shared {
					r := &stream.Runner{}
					r.Add(consumer)
					run = r
				}
				stop := start(t, run)
				rec.await(t, 2)
				streamtest.Await(t, "it waits", func() bool {
					return strings.Contains(client.Info(t.Context(), "clients").Val(), "blocked_clients:1")
				})
				_, err = client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
					for i := range 5 {
						tx.XAdd(t.Context(), &redis.XAddArgs{Stream: orders.Name, ID: fmt.Sprintf("%d-0", 5+i), Values: []string{"id", "new", "amount", "1"}})
					}
					tx.XTrimMaxLen(t.Context(), orders.Name, 2)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				streamtest.Await(t, "the loss is told", func() bool { return len(told.get()) > 0 })
				rec.await(t, 4)
				settled(t, client)
				if err := stop(); err != nil {
					t.Error(err)
				}
				want := stream.LossError{Stream: orders.Name, Group: "billing", Cause: stream.LossTrimmed, From: "4-0", To: "9-0", Count: 3, Exact: true}
				if list := told.get(); len(list) != 1 || list[0] != want {
					t.Errorf("told %+v, want %+v", list, want)
				}
			})
		}
	}
}
