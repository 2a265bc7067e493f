package promstream

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/middleware/internal/telemetry"
	"millrace/stream"
)

// Config configures [New]. Its zero value is useful.
type Config struct {
	// LagEvery is how often Redis is asked for the lag of each group and label. It is asked
	// when Prometheus scrapes, so not more often than that. A lag that is older than twice the
	// time is not reported. Default: 15 seconds. A negative time is refused.
	LagEvery time.Duration
	// NoLag leaves out the metrics of lag and of pending entries, and Redis is not asked.
	NoLag bool
}

// Collector is a prometheus.Collector of consumers. One serves all consumers of a process. [New]
// makes it; it must not be copied, and is safe for concurrent use.
type Collector struct {
	gatherer *telemetry.Gatherer
	timings  telemetry.Timings
	// descs are those of the list, by the name of the metric.
	descs map[string]*prometheus.Desc
	// ordered are the same in the order of the list.
	ordered []*prometheus.Desc
	// described says that a registry has the collector; without one nothing is measured.
	described atomic.Bool
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a Collector. It starts nothing. All problems of the config come back in one error,
// each wrapping stream.ErrInvalidOption.
func New(config Config) (*Collector, error) {
	lag := telemetry.LagConfig{Every: config.LagEvery, Never: config.NoLag}
	if err := lag.Check(); err != nil {
		return nil, fmt.Errorf("promstream: %w", err)
	}
	c := &Collector{gatherer: telemetry.NewGatherer(lag), descs: make(map[string]*prometheus.Desc)}
	for _, s := range list() {
		desc := s.desc()
		c.descs[s.name] = desc
		c.ordered = append(c.ordered, desc)
	}
	return c, nil
}

// Register adds consumers, and Runners with the consumers that they have at each scrape, to
// those of which the metrics tell. Consumers of one group or label are added up. Nil, and
// anything that is neither a Runner nor a consumer, are refused with an error that wraps
// stream.ErrInvalidOption.
func (c *Collector) Register(runnables ...stream.Runnable) error {
	if err := c.gatherer.Add(runnables...); err != nil {
		return fmt.Errorf("promstream: %w", err)
	}
	return nil
}

// Middleware returns the middleware that measures how long deliveries take, and how old entries
// are when they were handled. It stands outermost. Without it the two histograms have no
// series; all other metrics need no middleware. It measures nothing before the collector is
// registered with a prometheus.Registerer.
func (c *Collector) Middleware() stream.Middleware {
	return func(next stream.EntryHandler) stream.EntryHandler {
		readers := telemetry.PerReader[*telemetry.Timing]{New: func(id stream.Identity) *telemetry.Timing {
			return c.timings.Of(telemetry.KeyOf(id))
		}}
		return func(ctx context.Context, entry *stream.Entry) error {
			if !c.described.Load() {
				return next(ctx, entry)
			}
			begun := telemetry.Begun(entry)
			err := next(ctx, entry)
			if err == nil && ctx.Err() == nil { // as nearly always
				readers.Of(entry).Record(begun, entry, stream.OutcomeHandled, "", nil)
				return nil
			}
			outcome := entry.Outcome(ctx, err)
			readers.Of(entry).Record(begun, entry, outcome, telemetry.ErrorType(outcome, err), nil)
			return err
		}
	}
}

// Describe sends the descriptions of all metrics.
func (c *Collector) Describe(descs chan<- *prometheus.Desc) {
	c.described.Store(true)
	for _, desc := range c.ordered {
		descs <- desc
	}
}

// Collect sends the metrics of this moment. When the lag is due it asks Redis, and waits for a
// second at most: a scrape works on while Redis is away, without the lag.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	for _, sample := range c.gatherer.Gather(context.Background()) {
		c.collect(metrics, sample)
	}
	for _, timing := range c.timings.Data() {
		for errorType, data := range timing.Process {
			metrics <- c.histogram(nameProcess, data, timing.Key, errorType)
		}
		metrics <- c.histogram(nameAge, timing.Age, timing.Key)
	}
}

// collect sends the metrics of one key.
func (c *Collector) collect(metrics chan<- prometheus.Metric, sample telemetry.Sample) {
	send := func(name string, kind prometheus.ValueType, value float64, more ...string) {
		if desc := c.descs[name]; desc != nil {
			metrics <- prometheus.MustNewConstMetric(desc, kind, value, labelsOf(sample.Key, more...)...)
		}
	}
	for _, n := range sample.Numbers {
		kind := prometheus.GaugeValue
		if n.Kind == kindCounter {
			kind = prometheus.CounterValue
		}
		if outcome, is := strings.CutPrefix(n.Name, outcomePrefix); is {
			send(nameOutcomes, kind, n.Value, outcome)
		} else {
			send(nameOf(n.Name, n.Unit, n.Kind), kind, n.Value)
		}
	}
	send(nameLive, prometheus.GaugeValue, oneIf(sample.Live))
	send(nameReady, prometheus.GaugeValue, oneIf(sample.Ready))
	if sample.Lag == nil {
		return
	}
	send(nameLagTime, prometheus.GaugeValue, sample.Lag.Time.Seconds())
	if entries, known := sample.Lag.Entries(); known {
		send(nameLagEntries, prometheus.GaugeValue, float64(entries))
	}
	if sample.Group != "" {
		send(namePending, prometheus.GaugeValue, float64(sample.Lag.Pending))
	}
}

// histogram returns a histogram as Prometheus has it: each bucket counts those below it, too.
func (c *Collector) histogram(name string, data telemetry.HistogramData, key telemetry.Key, more ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(data.Bounds))
	var below uint64
	for i, bound := range data.Bounds {
		below += data.Counts[i]
		buckets[bound] = below
	}
	return prometheus.MustNewConstHistogram(c.descs[name], data.Count, data.Sum, buckets, labelsOf(key, more...)...)
}

// labelsOf returns the values of the labels. Prometheus takes UTF-8 alone, and Redis any bytes
// as the name of a stream.
func labelsOf(key telemetry.Key, more ...string) []string {
	values := append([]string{key.Stream, key.Group, key.Label}, more...)
	for i := range values {
		values[i] = strings.ToValidUTF8(values[i], "?")
	}
	return values
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
