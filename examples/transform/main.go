// Command transform makes a bill of each order, and counts the cents of all bills, while the process
// that does it is killed with kill -9 again and again. There is one bill for each order in the end,
// and the sum is right: the bill, the sum and the offset are written in one step.
//
// With -naive the handler publishes by itself. The books do not add up then, and the program says
// so and fails.
//
// It needs no server: without -redis it brings one in memory along.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// Order is the event that is read.
type Order struct {
	ID    int   `mapstructure:"id" validate:"gte=0"`
	Cents int64 `mapstructure:"cents" validate:"gt=0"`
}

// Bill is the event that is made of it.
type Bill struct {
	Order int   `mapstructure:"order" validate:"gte=0"`
	Cents int64 `mapstructure:"cents" validate:"gt=0"`
}

// books are the keys of one run. They have one hash tag, so that a cluster keeps them in one slot.
type books string

func (b books) orders() stream.Topic[Order] {
	return stream.Topic[Order]{Name: "{" + string(b) + "}:orders"}
}

func (b books) bills() stream.Topic[Bill] {
	return stream.Topic[Bill]{Name: "{" + string(b) + "}:bills"}
}

func (b books) totals() string  { return "{" + string(b) + "}:totals" }
func (b books) offsets() string { return "{" + string(b) + "}:offsets" }

// kills is how often the worker is killed.
const kills = 5

type settings struct {
	url    string
	orders int
	naive  bool
}

func main() {
	var set settings
	flag.StringVar(&set.url, "redis", "", "`URL` of a Redis to use, such as redis://127.0.0.1:6379; without it one in memory")
	flag.IntVar(&set.orders, "orders", 600, "how many orders to bill")
	flag.BoolVar(&set.naive, "naive", false, "have the handler publish by itself")
	key := flag.String("worker", "", "run as the worker on these books (used by the program itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *key != "" {
		err = work(ctx, set, books(*key))
	} else {
		err = run(ctx, set, os.Stdout)
	}
	if err != nil {
		log.Fatal("transform: ", err)
	}
}

// run publishes orders, kills one worker after another, and checks the books.
func run(ctx context.Context, set settings, out io.Writer) error {
	if set.url == "" {
		server, err := miniredis.Run()
		if err != nil {
			return err
		}
		defer server.Close()
		set.url = "redis://" + server.Addr()
	}
	client, err := open(set.url)
	if err != nil {
		return err
	}
	defer client.Close()
	key := books(fmt.Sprintf("millrace-example:%08x", rand.Uint32()))
	defer client.Del(context.WithoutCancel(ctx), key.orders().Name, key.bills().Name, key.totals(), key.offsets(), key.offsets()+":links")

	want, err := publish(ctx, client, key, set.orders)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d orders, %d cents in all\n", set.orders, want)
	for n := range kills + 1 {
		w, err := startWorker(ctx, set, key)
		if err != nil {
			return err
		}
		if n == kills {
			err = await(ctx, func() (bool, error) { return isDone(ctx, client, key) })
			return errors.Join(err, w.end(), balance(ctx, client, key, set.orders, want, out))
		}
		upTo := int64((n + 1) * set.orders / (kills + 2))
		if err := await(ctx, func() (bool, error) {
			bills, err := client.XLen(ctx, key.bills().Name).Result()
			return bills >= upTo, err
		}); err != nil {
			return errors.Join(err, w.end())
		}
		fmt.Fprintf(out, "kill -9, with %d bills or more\n", upTo)
		if err := w.cmd.Process.Kill(); err != nil {
			return err
		}
		_ = w.cmd.Wait() // it was killed
	}
	return nil
}

func open(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("-redis: give a URL such as redis://127.0.0.1:6379") // err may hold the password
	}
	return redis.NewClient(options), nil
}

// publish adds the orders, and returns the sum of their cents.
func publish(ctx context.Context, client *redis.Client, key books, orders int) (sum int64, err error) {
	producer, err := stream.NewProducer(client, key.orders())
	if err != nil {
		return 0, err
	}
	values := make([]Order, orders)
	for id := range values {
		values[id] = Order{ID: id, Cents: 1 + rand.Int64N(10_000)}
		sum += values[id].Cents
	}
	_, err = producer.PublishAll(ctx, values)
	return sum, err
}

// work is a worker process: it bills orders until it is stopped, or killed.
func work(ctx context.Context, set settings, key books) error {
	client, err := open(set.url)
	if err != nil {
		return err
	}
	defer client.Close()
	store, err := offset.NewRedis(client, key.offsets())
	if err != nil {
		return err
	}
	bills, err := stream.NewOutput(key.bills())
	if err != nil {
		return err
	}
	totals, err := stream.NewCounters(key.totals())
	if err != nil {
		return err
	}
	bill := func(ctx context.Context, msg *stream.Message[Order]) error {
		if err := totals.Add(ctx, msg, "cents", msg.Value.Cents); err != nil {
			return err
		}
		return bills.Publish(ctx, msg, Bill{Order: msg.Value.ID, Cents: msg.Value.Cents})
	}
	options := []stream.Option{
		stream.WithLabel("billing"), stream.WithCheckpoint(50, 50*time.Millisecond),
		stream.WithLogger(slog.New(slog.DiscardHandler)),
	}
	if set.naive {
		if bill, err = naive(client, key); err != nil {
			return err
		}
	} else {
		options = append(options, stream.WithEffects(bills, totals))
	}
	consumer, err := stream.NewConsumer(client, key.orders(), store, func(ctx context.Context, msg *stream.Message[Order]) error {
		select {
		case <-time.After(time.Millisecond): // the work
		case <-ctx.Done():
			return ctx.Err()
		}
		return bill(ctx, msg)
	}, options...)
	if err != nil {
		return err
	}
	return consumer.Run(ctx)
}

// naive returns a handler that writes by itself: what it has written stays if the process is killed
// before the offset is saved, and is written again.
func naive(client *redis.Client, key books) (stream.Handler[Order], error) {
	producer, err := stream.NewProducer(client, key.bills())
	return func(ctx context.Context, msg *stream.Message[Order]) error {
		if err := client.HIncrBy(ctx, key.totals(), "cents", msg.Value.Cents).Err(); err != nil {
			return err
		}
		_, err := producer.Publish(ctx, Bill{Order: msg.Value.ID, Cents: msg.Value.Cents})
		return err
	}, err
}

// worker is a process that works.
type worker struct{ cmd *exec.Cmd }

// startWorker starts this program once more, as a worker.
func startWorker(ctx context.Context, set settings, key books) (worker, error) {
	self, err := os.Executable()
	if err != nil {
		return worker{}, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, "-worker", string(key), "-redis", set.url, "-naive="+strconv.FormatBool(set.naive))
	cmd.Stderr = os.Stderr
	return worker{cmd}, cmd.Start()
}

// end stops the worker.
func (w worker) end() error {
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	return w.cmd.Wait()
}

// isDone reports whether the offset is at the last order.
func isDone(ctx context.Context, client *redis.Client, key books) (bool, error) {
	last, err := client.XRevRangeN(ctx, key.orders().Name, "+", "-", 1).Result()
	if err != nil || len(last) == 0 {
		return err == nil, err
	}
	at, err := client.HGet(ctx, key.offsets(), "billing").Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return at == last[0].ID, err
}

// await waits until a condition holds.
func await(ctx context.Context, holds func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// balance checks that there is one bill for each order, and that the sum is right.
func balance(ctx context.Context, client *redis.Client, key books, orders int, want int64, out io.Writer) error {
	bills, err := client.XRange(ctx, key.bills().Name, "-", "+").Result()
	if err != nil {
		return err
	}
	sum, err := client.HGet(ctx, key.totals(), "cents").Int64()
	if err != nil {
		return err
	}
	distinct := make(map[string]bool)
	for _, bill := range bills {
		distinct[fmt.Sprint(bill.Values["order"])] = true
	}
	fmt.Fprintf(out, "%d bills for %d of %d orders, %d of %d cents\n", len(bills), len(distinct), orders, sum, want)
	if len(bills) != orders || len(distinct) != orders || sum != want {
		return fmt.Errorf("the books do not add up: %d bills too many", len(bills)-orders)
	}
	return nil
}
