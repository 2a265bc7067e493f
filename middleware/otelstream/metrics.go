package otelstream

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"millrace/middleware/internal/telemetry"
	"millrace/stream"
)

// instruments are observed at each collection, and cost nothing before.
type instruments struct {
	meter metric.Meter
	// numbers are those of stream.Stats, by their names.
	numbers                                     map[string]number
	consumed, sent                              metric.Float64Observable
	lagEntries, lagTime, pending, live, isReady metric.Float64Observable

	all      []metric.Observable
	problems []error
}

// number is the instrument of a number of stream.Stats.
type number struct {
	metric.Float64Observable
	attrs []attribute.KeyValue // the outcome
}

// instrument makes the instruments, and registers one callback for all of them.
func (t *Telemetry) instrument(meter metric.Meter) error {
	in := &instruments{meter: meter, numbers: make(map[string]number)}
	in.addStats()
	in.consumed = in.counter(metricConsumed, unitMessages, "Deliveries of entries that have ended.")
	in.sent = in.counter(metricSent, unitMessages, "Values that producers were to publish.")
	in.lagEntries = in.gauge(metricLagEntries, unitEntries, "Entries of the stream that are not done; absent when Redis cannot tell.")
	in.lagTime = in.gauge(metricLagTime, unitSeconds, "Age of the oldest entry of the stream that is not done.")
	in.pending = in.gauge(metricPending, unitEntries, "Entries of the group that were delivered and not acked.")
	in.live = in.gauge(metricLive, unitConsumer, "1 if no consumer is stuck, else 0.")
	in.isReady = in.gauge(metricReady, unitConsumer, "1 if all consumers are well, else 0.")
	if err := errors.Join(in.problems...); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		t.observe(ctx, o, in)
		return nil
	}, in.all...)
	return err
}

func (in *instruments) counter(name, unit, description string) metric.Float64Observable {
	made, err := in.meter.Float64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	in.all, in.problems = append(in.all, made), append(in.problems, err)
	return made
}

func (in *instruments) gauge(name, unit, description string) metric.Float64Observable {
	made, err := in.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	in.all, in.problems = append(in.all, made), append(in.problems, err)
	return made
}

// addStats makes an instrument for each number of stream.Stats, and one for all outcomes.
func (in *instruments) addStats() {
	outcomes := in.counter(metricOutcomes, unitEntries, "Deliveries of entries, by their outcome.")
	stream.Stats{}.Each(func(name, unit, kind string, _ float64) {
		outcome, isOutcome := strings.CutPrefix(name, outcomePrefix)
		description := "The " + kind + " " + name + " of stream.Stats."
		switch {
		case isOutcome:
			in.numbers[name] = number{outcomes, []attribute.KeyValue{attrOutcome.String(outcome)}}
		case kind == "counter":
			in.numbers[name] = number{in.counter(metricPrefix+name, unit, description), nil}
		default:
			in.numbers[name] = number{in.gauge(metricPrefix+name, unit, description), nil}
		}
	})
}

// observe tells the numbers of this moment.
func (t *Telemetry) observe(ctx context.Context, o metric.Observer, in *instruments) {
	for _, sample := range t.gatherer.Gather(ctx) {
		in.observe(o, sample)
	}
	for _, op := range t.operations.all() {
		if op.name != operationPublish {
			continue
		}
		op.eachSent(func(errorType string, values int64) {
			o.ObserveFloat64(in.sent, float64(values), metric.WithAttributes(op.attributes(errorType)...))
		})
	}
}

// observe tells the numbers of one key.
func (in *instruments) observe(o metric.Observer, sample telemetry.Sample) {
	of := metric.WithAttributes(keyAttributes(sample.Key)...)
	var consumed float64
	for _, n := range sample.Numbers {
		if strings.HasPrefix(n.Name, outcomePrefix) {
			consumed += n.Value
		}
		if number, known := in.numbers[n.Name]; known {
			o.ObserveFloat64(number.Float64Observable, n.Value, of, metric.WithAttributes(number.attrs...))
		}
	}
	o.ObserveFloat64(in.consumed, consumed, metric.WithAttributes(keyAttributes(sample.Key, operationAttributes(operationProcess, operationProcess, "")...)...))
	o.ObserveFloat64(in.live, oneIf(sample.Live), of)
	o.ObserveFloat64(in.isReady, oneIf(sample.Ready), of)
	if sample.Lag == nil {
		return
	}
	o.ObserveFloat64(in.lagTime, sample.Lag.Time.Seconds(), of)
	if entries, known := sample.Lag.Entries(); known {
		o.ObserveFloat64(in.lagEntries, float64(entries), of)
	}
	if sample.Group != "" {
		o.ObserveFloat64(in.pending, float64(sample.Lag.Pending), of)
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
