package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
)

// childEnv holds the childConfig of a process that is measured from outside. It is
// no flag, so that a test's program can be the child as well.
const childEnv = "MILLRACE_BENCHMARK_CHILD"

func isChild() bool { return os.Getenv(childEnv) != "" }

// childConfig is what a child consumes.
type childConfig struct {
	URL    string
	Mode   string // log or group
	Prefix string // topics are this and a number from 0
	Topics int    // 0 for a program that only has a client
	Work   time.Duration
}

func (c childConfig) topic(i int) string { return c.Prefix + strconv.Itoa(i) }

// state is what a child answers to each command.
type state struct {
	RSS      int64         // bytes
	CPU      time.Duration // used so far
	Handled  int64         // entries, so far
	Quantity int64         // of these
	Took     time.Duration // of the command release
}

// consumers is what runs in a child.
type consumers struct {
	handled, quantity atomic.Int64
	// The handlers hold it for reading, and the command hold for writing.
	gate   sync.RWMutex
	held   bool // by the command
	target atomic.Int64
	done   chan struct{} // told when handled is target
}

// child consumes until the input ends, which it also does when its parent dies.
// Commands, one a line:
//
//	sample      answers with the state
//	hold        makes the handlers wait at their next entry
//	release N   lets them go on, and answers when they have handled N more
func child(in io.Reader, out io.Writer) error {
	var config childConfig
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &config); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &consumers{done: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	go func() { ended <- c.run(ctx, config) }()

	commands := make(chan string)
	go func() {
		defer close(commands)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			commands <- lines.Text()
		}
	}()
	answers := json.NewEncoder(out)
	for {
		select {
		case err := <-ended:
			return errors.Join(errors.New("the consumers have stopped"), err)
		case command, open := <-commands:
			if !open {
				if c.held {
					c.gate.Unlock() // or the handlers would never return
				}
				cancel()
				return <-ended
			}
			answer, err := c.obey(command)
			if err != nil {
				return err
			}
			if err := answers.Encode(answer); err != nil {
				return err
			}
		}
	}
}

// run consumes all topics with one client at its defaults.
func (c *consumers) run(ctx context.Context, config childConfig) error {
	options, err := redis.ParseURL(config.URL)
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return err
	}
	if config.Topics == 0 {
		<-ctx.Done()
		return nil
	}
	store, err := offset.NewRedis(client, config.Prefix+"offsets")
	if err != nil {
		return err
	}
	handle := func(_ context.Context, msg *stream.Message[trade]) error {
		c.gate.RLock()
		defer c.gate.RUnlock()
		if config.Work > 0 {
			time.Sleep(config.Work)
		}
		c.quantity.Add(msg.Value.Quantity)
		if c.handled.Add(1) == c.target.Load() {
			c.done <- struct{}{}
		}
		return nil
	}
	runner := stream.Runner{OnFailure: stream.StopAll} // a benchmark without one of its consumers measures something else
	for i := range config.Topics {
		var consumer *stream.Consumer[trade]
		if config.Mode == "group" {
			consumer, err = stream.NewGroupConsumer(client, topic(config.topic(i)), "benchmark", handle, usual()...)
		} else {
			consumer, err = stream.NewConsumer(client, topic(config.topic(i)), store, handle, usual()...)
		}
		if err != nil {
			return err
		}
		runner.Add(consumer)
	}
	return runner.Run(ctx)
}

func (c *consumers) obey(command string) (answer state, err error) {
	verb, number, _ := strings.Cut(command, " ")
	switch verb {
	case "sample":
	case "hold":
		c.gate.Lock()
		c.held = true
	case "release":
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return state{}, err
		}
		c.target.Store(c.handled.Load() + n)
		begun := time.Now()
		c.held = false
		c.gate.Unlock()
		select {
		case <-c.done:
		case <-time.After(stallLimit):
			return state{}, fmt.Errorf("%d entries were handled, want %d", c.handled.Load(), c.target.Load())
		}
		answer.Took = time.Since(begun)
	default:
		return state{}, fmt.Errorf("unknown command %q", command)
	}
	answer.Handled, answer.Quantity = c.handled.Load(), c.quantity.Load()
	if answer.CPU, err = cpuTime(); err != nil {
		return state{}, err
	}
	answer.RSS, err = residentMemory()
	return answer, err
}

// residentMemory returns how many bytes of memory this process has.
func residentMemory() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("only Linux tells how much memory a process has: %w", err)
	}
	var size, resident int64 // in pages
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, err
	}
	return resident * int64(os.Getpagesize()), nil
}
