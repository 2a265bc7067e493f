package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// cost is what some work took.
type cost struct{ wall, cpu time.Duration }

// measure returns the cost of the work. The garbage of what was measured before is
// not part of it.
func measure(work func() error) (cost, error) {
	runtime.GC()
	cpu, err := cpuTime()
	if err != nil {
		return cost{}, err
	}
	begun := time.Now()
	if err := work(); err != nil {
		return cost{}, err
	}
	wall := time.Since(begun)
	after, err := cpuTime()
	return cost{wall: wall, cpu: after - cpu}, err
}

// cpuTime is what this process has used so far, the server not included.
func cpuTime() (time.Duration, error) {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
}

// series is one figure over the rounds.
type series []float64

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// String returns the median and, in brackets, the lowest and the highest.
func (s series) String() string {
	if len(s) < 2 {
		return formatRatio(s.median())
	}
	return fmt.Sprintf("%s (%s-%s)", formatRatio(s.median()), formatRatio(slices.Min(s)), formatRatio(slices.Max(s)))
}

// variant is one of the ways to do the same work.
type variant struct {
	name    string
	entries int // how many it handles in a round
	run     func(ctx context.Context, round int) error
	target  string
}

// compare lets the variants take turns. The first is the measure of the others: its
// throughput, and its CPU time per entry, are 1.
func (b *bench) compare(ctx context.Context, variants ...variant) ([]line, error) {
	rates, speeds, cpus := make([]series, len(variants)), make([]series, len(variants)), make([]series, len(variants))
	for round := range b.rounds {
		b.tell("round %d of %d", round+1, b.rounds)
		var first cost // per entry
		for i, v := range variants {
			c, err := measure(func() error { return v.run(ctx, round) })
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.name, err)
			}
			each := cost{wall: c.wall / time.Duration(v.entries), cpu: c.cpu / time.Duration(v.entries)}
			if i == 0 {
				first = each
			}
			rates[i] = append(rates[i], float64(v.entries)/c.wall.Seconds())
			speeds[i] = append(speeds[i], float64(first.wall)/float64(each.wall))
			cpus[i] = append(cpus[i], float64(each.cpu)/float64(first.cpu))
		}
	}
	lines := make([]line, len(variants))
	for i, v := range variants {
		lines[i] = line{what: v.name, measured: formatRate(rates[i].median()), ratio: speeds[i].String(), cpu: cpus[i].String(), target: v.target}
	}
	lines[0].ratio, lines[0].cpu = "1.00", "1.00"
	return lines, nil
}
