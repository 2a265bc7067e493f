package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// backlog watches the memory of a consumer whose handler is much slower than its
// stream.
func (b *bench) backlog(ctx context.Context) ([]line, error) {
	prefix := b.key("backlog") + ":"
	b.tell("adding %d entries", b.settings.backlog)
	if err := fill(ctx, b.client, childConfig{Prefix: prefix}.topic(0), b.settings.backlog, 1000); err != nil {
		return nil, err
	}
	var lines []line
	for _, mode := range []string{"log", "group"} {
		b.tell("%s mode", mode)
		memory, err := b.watchMemory(ctx, childConfig{URL: b.url, Mode: mode, Prefix: prefix, Topics: 1, Work: time.Millisecond})
		if err != nil {
			return nil, err
		}
		first, highest, last := memory[0], slices.Max(memory), memory[len(memory)-1]
		// What a garbage-collected program of that size varies by is not growth.
		verdict := "grows"
		if highest <= 1.25*first {
			verdict = "flat"
		}
		lines = append(lines, line{
			what:     fmt.Sprintf("%s mode, %d behind, handler of 1 ms: memory at first, highest, at last", mode, b.settings.backlog),
			measured: fmt.Sprintf("%s, %s, %s", formatMiB(first), formatMiB(highest), formatMiB(last)),
			ratio:    fmt.Sprintf("%.2f, %s", highest/first, verdict),
			target:   "flat: highest <= 1.25 first",
		})
	}
	return lines, b.drop(ctx, b.prefix)
}

// watchMemory runs a child, and returns how much memory it has, in bytes, from its
// first full second on.
func (b *bench) watchMemory(ctx context.Context, config childConfig) (bytes []float64, err error) {
	process, err := startChild(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, process.stop()) }()
	const samples = 20
	handled := int64(0)
	for range samples {
		if err := wait(ctx, b.watch/samples); err != nil {
			return nil, err
		}
		answer, err := process.command("sample")
		if err != nil {
			return nil, err
		}
		bytes = append(bytes, float64(answer.RSS))
		handled = answer.Handled
	}
	if handled == 0 || handled >= int64(b.settings.backlog) {
		return nil, fmt.Errorf("%d of %d entries were handled; there has to be a backlog all the time, and work", handled, b.settings.backlog)
	}
	return bytes, nil
}
