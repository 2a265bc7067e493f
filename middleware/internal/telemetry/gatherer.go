package telemetry

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"millrace/stream"
)

// consumer is what a member has to be to have numbers: a *stream.Consumer of any type, or
// something that wraps one.
type consumer interface {
	Identity() stream.Identity
	Stats() stream.Stats
}

// maxRetired is how many consumers that were removed are kept. A counter must not shrink when
// one of several consumers is removed, or a monitoring system would take it for a restart, and
// count everything anew.
const maxRetired = 256

// Gatherer reads the numbers of consumers, and of the members of Runners, each time it is asked.
// [NewGatherer] makes one. It is safe for concurrent use.
//
// Members may come and go. A consumer that was removed counts on, together with those of its
// key, as long as the key has another one. The counts of a consumer that was added and removed
// between two collections are in none.
type Gatherer struct {
	lags *lags

	mu    sync.Mutex
	roots []stream.Runnable
	// present are the consumers of the last collection, retired those that are no longer there,
	// the oldest first.
	present, retired []consumer
	// base has the counts of those that were dropped from retired.
	base map[Key][]float64
}

// NewGatherer returns a Gatherer that asks for the lag as the config says.
func NewGatherer(config LagConfig) *Gatherer {
	return &Gatherer{lags: &lags{config: config, found: make(map[Key]foundLag)}, base: make(map[Key][]float64)}
}

// Number is one number of a key.
type Number struct {
	Name, Unit, Kind string // as of stream.Stats.Each
	Value            float64
}

// Sample has the numbers of one key at one moment.
type Sample struct {
	Key
	// Numbers are those of stream.Stats.Each. Of several consumers it has the sum, and the
	// largest of gauges in seconds.
	Numbers []Number
	// Live and Ready say that all consumers are.
	Live, Ready bool
	// Lag is nil if it is not known.
	Lag *stream.Lag
}

// Add adds consumers, and Runners with the consumers that they will have. Nil, and anything that
// is neither a Runner nor a consumer, are refused with an error that wraps
// stream.ErrInvalidOption; then nothing is added.
func (g *Gatherer) Add(runnables ...stream.Runnable) error {
	var problems []error
	for i, one := range runnables {
		_, isConsumer := one.(consumer)
		_, isRunner := one.(*stream.Runner)
		switch {
		case isNil(one):
			problems = append(problems, fmt.Errorf("%w: Register: number %d is nil; give a *stream.Runner or a consumer", stream.ErrInvalidOption, i+1))
		case !isConsumer && !isRunner:
			problems = append(problems, fmt.Errorf("%w: Register: number %d, a %T, has no Stats; give a *stream.Runner or a consumer", stream.ErrInvalidOption, i+1, one))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.roots = append(g.roots, runnables...)
	return nil
}

func isNil(one stream.Runnable) bool {
	value := reflect.ValueOf(one)
	return !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil()
}

// Gather returns a sample of each key that has a consumer, ordered by key. It waits for a
// second, or until ctx is done, for lags that are due; see [LagConfig].
func (g *Gatherer) Gather(ctx context.Context) []Sample {
	g.mu.Lock()
	totals := g.gatherLocked()
	g.mu.Unlock()
	lags := g.lags.of(ctx, totals)
	samples := make([]Sample, 0, len(totals))
	for key, total := range totals {
		if lag, known := lags[key]; known {
			total.Lag = &lag
		}
		samples = append(samples, total.Sample)
	}
	slices.SortFunc(samples, func(a, b Sample) int { return a.Compare(b.Key) })
	return samples
}

// total is a sample that is being added up.
type total struct {
	Sample
	lagging lagging // one consumer that can be asked, nil if there is none
}

// gatherLocked adds up the numbers of all consumers. g.mu must be held.
func (g *Gatherer) gatherLocked() map[Key]*total {
	present := g.consumersLocked()
	totals := make(map[Key]*total)
	for _, one := range present {
		if r, ok := read(one); ok {
			t := totals[r.key]
			if t == nil {
				t = &total{Sample: Sample{Key: r.key, Live: true, Ready: true}}
				totals[r.key] = t
			}
			t.add(r)
		}
	}
	g.retireLocked(present, totals)
	for _, one := range g.retired {
		if r, ok := read(one); ok && totals[r.key] != nil {
			totals[r.key].count(r.numbers)
		}
	}
	for key, counts := range g.base {
		if totals[key] == nil {
			delete(g.base, key)
			continue
		}
		for i, n := range counts {
			totals[key].Numbers[i].Value += n
		}
	}
	return totals
}

// consumersLocked returns all consumers that are there now, each once. g.mu must be held.
func (g *Gatherer) consumersLocked() []consumer {
	var list []consumer
	seen := make(map[consumer]bool)
	add := func(one stream.Runnable) {
		c, is := one.(consumer)
		if !is || isNil(one) || !reflect.TypeOf(c).Comparable() || seen[c] {
			return
		}
		seen[c] = true
		list = append(list, c)
	}
	for _, root := range g.roots {
		if runner, is := root.(*stream.Runner); is {
			runner.Members()(func(one stream.Runnable) bool { add(one); return true })
			continue
		}
		add(root)
	}
	return list
}

// retireLocked notes which consumers are no longer there. g.mu must be held.
func (g *Gatherer) retireLocked(present []consumer, totals map[Key]*total) {
	there := make(map[consumer]bool, len(present))
	for _, one := range present {
		there[one] = true
	}
	for _, one := range g.present {
		if !there[one] {
			g.retired = append(g.retired, one)
		}
	}
	g.present = present
	// One that is back counts among those that are there.
	g.retired = slices.DeleteFunc(g.retired, func(one consumer) bool { return there[one] })
	for len(g.retired) > maxRetired {
		if r, ok := read(g.retired[0]); ok && totals[r.key] != nil {
			if g.base[r.key] == nil {
				g.base[r.key] = make([]float64, len(r.numbers))
			}
			for i, n := range r.numbers {
				if n.Kind == counter {
					g.base[r.key][i] += n.Value
				}
			}
		}
		g.retired = slices.Delete(g.retired, 0, 1)
	}
}

const counter = "counter"

// reading has the numbers of one consumer.
type reading struct {
	key         Key
	numbers     []Number
	live, ready bool
	lagging     lagging
}

// read reads a consumer. One of the user's own that panics has no numbers, and must not end the
// program, which a panic in the goroutine of an exporter would.
func read(one consumer) (r reading, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	r = reading{key: KeyOf(one.Identity()), live: true, ready: true}
	one.Stats().Each(func(name, unit, kind string, value float64) {
		r.numbers = append(r.numbers, Number{Name: name, Unit: unit, Kind: kind, Value: value})
	})
	if healthy, is := one.(interface{ Health() stream.Health }); is {
		h := healthy.Health()
		r.live, r.ready = h.Live, h.Ready
	}
	r.lagging, _ = one.(lagging)
	return r, true
}

// add adds a consumer to its key's numbers.
func (t *total) add(r reading) {
	t.Live, t.Ready = t.Live && r.live, t.Ready && r.ready
	if t.lagging == nil {
		t.lagging = r.lagging
	}
	if t.Numbers == nil {
		t.Numbers = r.numbers
		return
	}
	t.count(r.numbers)
	for i, n := range r.numbers {
		switch {
		case n.Kind == counter:
		case n.Unit == "s":
			t.Numbers[i].Value = max(t.Numbers[i].Value, n.Value)
		default:
			t.Numbers[i].Value += n.Value
		}
	}
}

// count adds the counters alone.
func (t *total) count(numbers []Number) {
	for i, n := range numbers {
		if n.Kind == counter {
			t.Numbers[i].Value += n.Value
		}
	}
}
