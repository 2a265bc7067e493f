// Command workers shows group mode at its hardest: three consumers in processes of
// their own share a stream of payments; one is killed with kill -9 in the middle,
// another takes over what it had, and the sum comes out right.
//
// It needs no server: without -redis it brings one in memory along.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/streamtest"
)

// Payment is the event. Its amount is in cents.
type Payment struct {
	ID     int   `mapstructure:"id" validate:"gte=0"`
	Amount int64 `mapstructure:"amount" validate:"gt=0"`
}

const group = "bookkeeping"

// slow is the worker that takes long for each payment, so that it has some in hand when
// it is killed, however fast the others are.
const slow = "bert"

func topic(key string) stream.Topic[Payment] { return stream.Topic[Payment]{Name: key} }

func main() {
	url := flag.String("redis", "", "`URL` of a Redis to use, such as redis://127.0.0.1:6379; without it one in memory")
	payments := flag.Int("payments", 600, "how many payments to book")
	name := flag.String("worker", "", "run as the worker of this name (used by the program itself)")
	key := flag.String("stream", "", "stream of the worker (used by the program itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if *name != "" {
		err = work(ctx, *url, *key, *name)
	} else {
		err = run(ctx, *url, *payments, os.Stdout)
	}
	if err != nil {
		log.Fatal("workers: ", err)
	}
}

// run publishes payments, starts three workers, kills one of them, and checks the
// books.
func run(ctx context.Context, url string, payments int, out io.Writer) error {
	if url == "" {
		server, err := miniredis.Run()
		if err != nil {
			return err
		}
		defer server.Close()
		streamtest.CountAsRedis(server) // each renewal of a lease would count as a delivery
		url = "redis://" + server.Addr()
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return fmt.Errorf("-redis: give a URL such as redis://127.0.0.1:6379") // err may hold the password
	}
	client := redis.NewClient(options)
	defer client.Close()
	key := fmt.Sprintf("millrace-example:%08x:payments", rand.Uint32())
	defer client.Del(context.WithoutCancel(ctx), key, booksOf(key))

	want, err := publish(ctx, client, key, payments)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d payments, %d cents in all\n", payments, want)

	screen := &screen{out: out}
	workers := make(map[string]*worker)
	for _, name := range []string{slow, "anna", "cleo"} {
		workers[name], err = startWorker(ctx, screen, url, key, name)
		if err != nil {
			return err
		}
		defer workers[name].stop()
		if name != slow {
			continue
		}
		// The others start once it has its share: they might leave it none.
		if err := await(ctx, func() (bool, error) { return hasPending(ctx, client, key, slow) }); err != nil {
			return err
		}
	}
	booked := func(n int) func() (bool, error) {
		return func() (bool, error) {
			have, err := client.HLen(ctx, booksOf(key)).Result()
			return have >= int64(n), err
		}
	}
	if err := await(ctx, booked(payments/3)); err != nil {
		return err
	}
	screen.print("       kill -9 " + slow)
	if err := workers[slow].cmd.Process.Kill(); err != nil {
		return err
	}
	if err := await(ctx, booked(payments)); err != nil {
		return err
	}
	nothingPending := func() (bool, error) {
		pending, err := client.XPending(ctx, key, group).Result()
		return err == nil && pending.Count == 0, err
	}
	if err := await(ctx, nothingPending); err != nil {
		return err
	}
	return balance(ctx, client, key, payments, want, screen)
}

// hasPending reports whether a worker has payments in hand.
func hasPending(ctx context.Context, client *redis.Client, key, name string) (bool, error) {
	pending, err := client.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: key, Group: group, Consumer: name, Start: "-", End: "+", Count: 1,
	}).Result()
	if redis.HasErrorPrefix(err, "NOGROUP") {
		return false, nil // no worker has made the group yet
	}
	return len(pending) > 0, err
}

// publish adds the payments to the stream, and returns their sum.
func publish(ctx context.Context, client *redis.Client, key string, payments int) (sum int64, err error) {
	producer, err := stream.NewProducer(client, topic(key))
	if err != nil {
		return 0, err
	}
	values := make([]Payment, payments)
	for id := range values {
		values[id] = Payment{ID: id, Amount: 1 + rand.Int64N(10_000)}
		sum += values[id].Amount
	}
	_, err = producer.PublishAll(ctx, values)
	return sum, err
}

// booksOf is the hash that has a field for each payment that was booked: with the
// payment's ID as the field, a payment that is booked twice counts once.
func booksOf(key string) string { return "{" + key + "}:books" }

// work is a worker process: it books payments until it is stopped, or killed.
func work(ctx context.Context, url, key, name string) error {
	options, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer client.Close()
	pace := 2 * time.Millisecond
	if name == slow {
		pace = 200 * time.Millisecond
	}
	book := func(ctx context.Context, msg *stream.Message[Payment]) error {
		select {
		case <-time.After(pace): // the work
		case <-ctx.Done():
			return ctx.Err()
		}
		if msg.Deliveries > 1 {
			fmt.Printf("took over payment %d, delivery %d\n", msg.Value.ID, msg.Deliveries)
		}
		return client.HSet(ctx, booksOf(key), msg.Value.ID, msg.Value.Amount).Err()
	}
	consumer, err := stream.NewGroupConsumer(client, topic(key), group, book,
		stream.WithConsumerName(name), stream.WithReadCount(20), stream.WithClaimIdle(time.Second), stream.WithDrainTimeout(time.Second))
	if err != nil {
		return err
	}
	return consumer.Run(ctx)
}

// worker is a process that works, and what reads its output.
type worker struct {
	cmd  *exec.Cmd
	read sync.WaitGroup
}

func (w *worker) stop() {
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	w.read.Wait()
	_ = w.cmd.Wait()
}

// startWorker starts this program once more, as a worker, and shows what it says.
func startWorker(ctx context.Context, screen *screen, url, key, name string) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, "-worker", name, "-stream", key, "-redis", url)
	said, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &worker{cmd: cmd}
	w.read.Go(func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			screen.say(name, lines.Text())
		}
	})
	return w, nil
}

// await waits until a condition holds.
func await(ctx context.Context, holds func() (bool, error)) error {
	tick := time.NewTicker(10 * time.Millisecond)
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

// balance checks that every payment is in the books.
func balance(ctx context.Context, client *redis.Client, key string, payments int, want int64, screen *screen) error {
	books, err := client.HVals(ctx, booksOf(key)).Result()
	if err != nil {
		return err
	}
	var sum int64
	for _, amount := range books {
		var cents int64
		if _, err := fmt.Sscan(amount, &cents); err != nil {
			return err
		}
		sum += cents
	}
	screen.summary()
	screen.print(fmt.Sprintf("%d of %d payments are booked, %d of %d cents; nothing is pending", len(books), payments, sum, want))
	if len(books) != payments || sum != want {
		return fmt.Errorf("the books do not add up")
	}
	return nil
}

// screen shows what several workers say.
type screen struct {
	mu   sync.Mutex
	out  io.Writer
	took map[string]int
}

func (s *screen) print(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, line)
}

// say shows a worker's line, of what it took over only the first few.
func (s *screen) say(name, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(line, "took over") {
		if s.took == nil {
			s.took = make(map[string]int)
		}
		if s.took[name]++; s.took[name] > 3 {
			return
		}
	}
	fmt.Fprintf(s.out, "%-6s %s\n", name, line)
}

func (s *screen) summary() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, n := range s.took {
		fmt.Fprintf(s.out, "%s took over %d payments in all\n", name, n)
	}
}
