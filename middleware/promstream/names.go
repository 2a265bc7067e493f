package promstream

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/stream"
)

// The names of metrics that are not made of stream.Stats. All names begin with millrace_:
// redis_exporter has those with redis_stream_.
const (
	namespace        = "millrace_"
	nameProcess      = namespace + "process_duration_seconds"
	nameAge          = namespace + "entry_age_seconds"
	nameLagEntries   = namespace + "lag_entries"
	nameLagTime      = namespace + "lag_seconds"
	namePending      = namespace + "pending_entries"
	nameLive         = namespace + "live"
	nameReady        = namespace + "ready"
	nameOutcomes     = namespace + "outcomes_total"
	outcomePrefix    = "outcomes."
	labelOutcome     = "outcome"
	labelErrorType   = "error_type"
	kindCounter      = "counter"
	kindGauge        = "gauge"
	kindHistogram    = "histogram"
	secondsSuffix    = "_seconds"
	descriptionStats = " of stream.Stats."
)

// keyLabels are on every series. One of group and label is empty, which Prometheus takes for a
// label that is not there.
var keyLabels = []string{"stream", "group", "label"}

// series describes one metric of the list.
type series struct {
	name, kind, help string
	labels           []string // behind keyLabels
}

func (s series) desc() *prometheus.Desc {
	return prometheus.NewDesc(s.name, s.help, append(keyLabels[:len(keyLabels):len(keyLabels)], s.labels...), nil)
}

// list returns all metrics: those of stream.Stats, in the order of its Each, and then the others.
// The collector, the dashboard and the alerts are made of it.
func list() []series {
	all := []series{{nameOutcomes, kindCounter, "Deliveries of entries, by their outcome.", []string{labelOutcome}}}
	stream.Stats{}.Each(func(name, unit, kind string, _ float64) {
		if !strings.HasPrefix(name, outcomePrefix) {
			all = append(all, series{nameOf(name, unit, kind), kind, "The " + kind + " " + name + descriptionStats, nil})
		}
	})
	return append(all,
		series{nameLagEntries, kindGauge, "Entries of the stream that are not done; absent when Redis cannot tell.", nil},
		series{nameLagTime, kindGauge, "Age of the oldest entry of the stream that is not done.", nil},
		series{namePending, kindGauge, "Entries of the group that were delivered and not acked.", nil},
		series{nameLive, kindGauge, "1 if no consumer is stuck, else 0.", nil},
		series{nameReady, kindGauge, "1 if all consumers are well, else 0.", nil},
		series{nameProcess, kindHistogram, "Durations of deliveries, with all middleware.", []string{labelErrorType}},
		series{nameAge, kindHistogram, "Ages of entries when they were handled, from their IDs on.", nil},
	)
}

// nameOf returns the name of a number of stream.Stats as Prometheus has them, with the unit, and
// with _total behind a counter.
func nameOf(name, unit, kind string) string {
	name = namespace + strings.NewReplacer(".", "_", "-", "_").Replace(name)
	if unit == "s" {
		name += secondsSuffix
	}
	if kind == kindCounter {
		name += "_total"
	}
	return name
}
