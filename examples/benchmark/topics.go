package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// footprint is what a child with many topics takes.
type footprint struct {
	connections int     // the most at a time
	rss         float64 // the most, in bytes, above that of a program that has only a client
	idle        float64 // CPU while nothing comes, in % of a core
	rate        float64 // entries per second of the busy topics
}

// topics measures what many topics in one process take, few of which are busy.
func (b *bench) topics(ctx context.Context) ([]line, error) {
	busy, rounds := min(10, b.settings.topics), min(b.rounds, 5)
	empty, err := b.emptyMemory(ctx)
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, mode := range []string{"log", "group"} {
		var connections, memory, idle, alone, together, ratios series
		for round := range rounds {
			b.tell("%s mode, round %d of %d", mode, round+1, rounds)
			few, err := b.footprint(ctx, mode, busy, busy, 0)
			if err != nil {
				return nil, err
			}
			all, err := b.footprint(ctx, mode, b.settings.topics, busy, b.idle)
			if err != nil {
				return nil, err
			}
			connections, memory, idle = append(connections, float64(all.connections)), append(memory, all.rss-empty), append(idle, all.idle)
			alone, together, ratios = append(alone, few.rate), append(together, all.rate), append(ratios, all.rate/few.rate)
		}
		name := func(what string) string { return fmt.Sprintf("%s mode, %d topics: %s", mode, b.settings.topics, what) }
		lines = append(lines,
			line{what: name("connections"), measured: fmt.Sprintf("%.0f", connections.median()), target: "<= 8"},
			line{what: name("memory over an empty program"), measured: formatMiB(memory.median()), target: "<= 60 MiB"},
			line{what: name("CPU when idle"), measured: fmt.Sprintf("%.1f %% of a core", idle.median()), target: "<= 2 %"},
			line{what: fmt.Sprintf("%s mode, the %d busy ones alone", mode, busy), measured: formatRate(alone.median()), ratio: "1.00"},
			line{what: fmt.Sprintf("%s mode, the %d busy ones among all", mode, busy), measured: formatRate(together.median()), ratio: ratios.String(), target: ">= 0.8"})
	}
	return lines, nil
}

// emptyMemory returns the memory of a program that has a client and no consumer.
func (b *bench) emptyMemory(ctx context.Context) (bytes float64, err error) {
	process, err := startChild(ctx, childConfig{URL: b.url})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, process.stop()) }()
	if err := wait(ctx, b.settle/2); err != nil {
		return 0, err
	}
	answer, err := process.command("sample")
	return float64(answer.RSS), err
}

// footprint runs a child with that many topics, measures it for the given time while
// nothing is published, and lets the busy ones work off a backlog in the end.
func (b *bench) footprint(ctx context.Context, mode string, topics, busy int, idle time.Duration) (f footprint, err error) {
	config := childConfig{URL: b.url, Mode: mode, Prefix: b.key("topics") + ":", Topics: topics}
	// One entry each, which shows that each is consumed.
	for i := range topics {
		if err := fill(ctx, b.client, config.topic(i), 1, 1000); err != nil {
			return f, err
		}
	}
	others, err := b.otherConnections(ctx)
	if err != nil {
		return f, err
	}
	process, err := startChild(ctx, config)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, process.stop(), b.drop(ctx, config.Prefix)) }()
	look := func(answer state) error {
		open, err := b.otherConnections(ctx)
		f.connections = max(f.connections, open-others)
		f.rss = max(f.rss, float64(answer.RSS))
		return err
	}
	if err := process.awaitHandled(ctx, topics); err != nil {
		return f, err
	}
	if err := wait(ctx, b.settle); err != nil {
		return f, err
	}
	if idle > 0 {
		before, err := process.command("sample")
		if err != nil {
			return f, err
		}
		if err := errors.Join(look(before), wait(ctx, idle)); err != nil {
			return f, err
		}
		after, err := process.command("sample")
		if err != nil {
			return f, err
		}
		f.idle = 100 * (after.CPU - before.CPU).Seconds() / idle.Seconds()
		if err := look(after); err != nil {
			return f, err
		}
	}

	// The handlers wait while the backlog is made, so that the rate is that of the
	// consumers, and not of the one who publishes.
	if _, err := process.command("hold"); err != nil {
		return f, err
	}
	each := b.entries / busy
	for i := range busy {
		if err := fill(ctx, b.client, config.topic(i), each, 1000); err != nil {
			return f, err
		}
	}
	answer, err := process.command("release %d", busy*each)
	if err != nil {
		return f, err
	}
	handled, quantity := int64(topics+busy*each), int64(topics)*totalQuantity(1)+int64(busy)*totalQuantity(each)
	if answer.Handled != handled || answer.Quantity != quantity {
		return f, fmt.Errorf("%d trades with a quantity of %d were handled, want %d with %d", answer.Handled, answer.Quantity, handled, quantity)
	}
	f.rate = float64(busy*each) / answer.Took.Seconds()
	return f, look(answer)
}

// otherConnections returns how many connections the server has that are not ours.
func (b *bench) otherConnections(ctx context.Context) (n int, err error) {
	list, err := b.client.ClientList(ctx).Result()
	for client := range strings.Lines(list) {
		if !strings.Contains(client, " name="+clientName+" ") {
			n++
		}
	}
	return n, err
}
