package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// settings say how much is run: a lot for figures, little for a test.
type settings struct {
	entries, rounds, topics, backlog int

	latencies int           // entries per round in the row latency
	settle    time.Duration // between the start of the topics and what is measured while they are idle
	idle      time.Duration // how long that is measured
	watch     time.Duration // how long the memory is watched in the row backlog
}

func (s settings) validate() error {
	// Below that a tenth, or the fiftieth that a sequential handler gets, is nothing.
	if s.entries < 1000 || s.rounds < 1 || s.topics < 1 || s.backlog < 1000 {
		return errors.New("give at least 1000 -entries, one of -rounds, one of -topics and 1000 of -backlog")
	}
	return nil
}

// row is one comparison; it can have several lines in the table.
type row struct {
	name    string
	measure func(*bench, context.Context) ([]line, error)
}

func rows() []row {
	return []row{
		{"log", (*bench).logMode},
		{"group", (*bench).groupMode},
		{"decode", (*bench).decode},
		{"json", (*bench).json},
		{"packed", (*bench).packed},
		{"publish", (*bench).publish},
		{"effects", (*bench).effects},
		{"later", (*bench).later},
		{"latency", (*bench).latency},
		{"keys", (*bench).keys},
		{"topics", (*bench).topics},
		{"backlog", (*bench).backlog},
	}
}

func rowNames() (names []string) {
	for _, row := range rows() {
		names = append(names, row.name)
	}
	return names
}

// choose returns the rows whose names are given, comma-separated, in the order of
// the table.
func choose(only string) ([]row, error) {
	all := rows()
	if only == "" {
		return all, nil
	}
	names := strings.Split(only, ",")
	for _, name := range names {
		if !slices.Contains(rowNames(), name) {
			return nil, fmt.Errorf("-only: there is no row %q; there are %s", name, strings.Join(rowNames(), ", "))
		}
	}
	return slices.DeleteFunc(all, func(r row) bool { return !slices.Contains(names, r.name) }), nil
}

// clientName is the name of this process's connections, so that they can be told
// from those that are counted.
const clientName = "millrace-benchmark"

// bench is what the rows have in common.
type bench struct {
	settings
	url      string
	client   *redis.Client
	prefix   string // of all keys
	keyCount int
	progress io.Writer
	row      string // the one at work
}

func newBench(ctx context.Context, url string, s settings, progress io.Writer) (*bench, error) {
	b := &bench{
		settings: s, url: url, progress: progress,
		prefix: fmt.Sprintf("millrace-benchmark:%08x:", rand.Uint32()),
	}
	if _, err := redis.ParseURL(url); err != nil {
		return nil, errors.New("-redis: give a URL such as redis://127.0.0.1:6379") // err may hold the password
	}
	b.client = b.newClient()
	if err := b.client.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("-redis: %w", err), b.client.Close())
	}
	return b, nil
}

// newClient returns one more client, for what must have connections of its own.
func (b *bench) newClient() *redis.Client {
	options, err := redis.ParseURL(b.url)
	if err != nil {
		panic(err) // newBench has looked
	}
	options.ClientName = clientName
	return redis.NewClient(options)
}

// key returns a key that was not used before.
func (b *bench) key(name string) string {
	b.keyCount++
	return fmt.Sprintf("%s%d:%s", b.prefix, b.keyCount, name)
}

// drop removes all keys that begin with the prefix.
func (b *bench) drop(ctx context.Context, prefix string) error {
	keys := b.client.Scan(ctx, 0, prefix+"*", 1000).Iterator()
	for keys.Next(ctx) {
		if err := b.client.Unlink(ctx, keys.Val()).Err(); err != nil {
			return err
		}
	}
	return keys.Err()
}

// close removes what is left on the server, also after an interrupt.
func (b *bench) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(b.drop(ctx, b.prefix), b.client.Close())
}

// tell says on stderr what is at work: a full run takes minutes.
func (b *bench) tell(format string, args ...any) {
	fmt.Fprintf(b.progress, "%s: %s\n", b.row, fmt.Sprintf(format, args...))
}
