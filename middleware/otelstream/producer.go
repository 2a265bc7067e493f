package otelstream

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"millrace/middleware/internal/telemetry"
)

// Producer returns a producer of metrics for a reader of the SDK. It has the histograms, which
// are counted in buckets of our own: an instrument of the SDK costs more for each entry than all
// the rest of this package. Views do not apply to them. The sums are cumulative, also for a
// reader that asks for deltas.
//
// Without a call of Producer nothing is measured. So it is called before consumers run:
//
//	reader := metric.NewPeriodicReader(exporter, metric.WithProducer(tel.Producer()))
func (t *Telemetry) Producer() metric.Producer {
	if t != nil {
		t.timed.Store(true)
	}
	return producer{of: t, since: time.Now()}
}

// producer is the [metric.Producer] of a Telemetry, which may be nil.
type producer struct {
	of    *Telemetry
	since time.Time
}

// Produce returns the histograms.
func (p producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	if p.of == nil {
		return nil, nil
	}
	var process, age, operation []metricdata.HistogramDataPoint[float64]
	now := time.Now()
	point := func(attrs []attribute.KeyValue, data telemetry.HistogramData) metricdata.HistogramDataPoint[float64] {
		return metricdata.HistogramDataPoint[float64]{
			Attributes: attribute.NewSet(attrs...), StartTime: p.since, Time: now,
			Count: data.Count, Sum: data.Sum, Bounds: data.Bounds, BucketCounts: data.Counts, Exemplars: exemplars(data.Exemplars),
		}
	}
	for _, timing := range p.of.timings.Data() {
		for errorType, data := range timing.Process {
			process = append(process, point(keyAttributes(timing.Key, operationAttributes(operationProcess, operationProcess, errorType)...), data))
		}
		age = append(age, point(keyAttributes(timing.Key), timing.Age))
	}
	for _, op := range p.of.operations.all() {
		operation = append(operation, point(op.attributes(""), op.fine.Data()))
		op.failed.Each(func(errorType string, h *telemetry.Histogram) {
			operation = append(operation, point(op.attributes(errorType), h.Data()))
		})
	}
	metrics := slices.DeleteFunc([]metricdata.Metrics{
		histogram(metricProcessDuration, "Durations of deliveries, with all middleware.", process),
		histogram(metricEntryAge, "Ages of entries when they were handled, from their IDs on.", age),
		histogram(metricOperationDuration, "Durations of publishing, of reads that did not wait, and of acks.", operation),
	}, func(m metricdata.Metrics) bool { return m.Data == nil })
	if len(metrics) == 0 {
		return nil, nil
	}
	return []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: scopeName, SchemaURL: schemaURL}, Metrics: metrics}}, nil
}

// histogram returns a metric, without data if there are no points.
func histogram(name, description string, points []metricdata.HistogramDataPoint[float64]) metricdata.Metrics {
	m := metricdata.Metrics{Name: name, Description: description, Unit: unitSeconds}
	if len(points) > 0 {
		m.Data = metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality, DataPoints: points}
	}
	return m
}

// exemplars returns exemplars as the SDK has them.
func exemplars(found []telemetry.Exemplar) []metricdata.Exemplar[float64] {
	list := make([]metricdata.Exemplar[float64], 0, len(found))
	for _, e := range found {
		list = append(list, metricdata.Exemplar[float64]{
			Time: e.Time, Value: e.Value.Seconds(), TraceID: slices.Clone(e.TraceID[:]), SpanID: slices.Clone(e.SpanID[:]),
		})
	}
	return list
}
