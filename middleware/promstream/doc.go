// Package promstream exports consumers to Prometheus. It is a module of its own, so that other
// programs do not get the packages of Prometheus.
//
//	metrics, err := promstream.New(promstream.Config{})
//	if err != nil {
//		return err
//	}
//	var r stream.Runner
//	if err := errors.Join(metrics.Register(&r), prometheus.Register(metrics)); err != nil {
//		return err
//	}
//	orders, err := stream.NewGroupConsumer(client, Orders, "billing", handle,
//		stream.WithMiddleware(metrics.Middleware(), middleware.Standard(logger)))
//	if err != nil {
//		return err
//	}
//	r.Add(orders)
//	http.Handle("/metrics", promhttp.Handler())
//
// The example examples/observed is a whole service.
//
// # Metrics
//
// Each series has the labels stream, and group or label. Consumers of one group or label in a
// process are added up; the largest of times is told.
//
//	millrace_outcomes_total{outcome}            deliveries, by their outcome
//	millrace_read_total, millrace_redelivered_total, millrace_lost_total,
//	millrace_claimed_total, millrace_handed_back_total, millrace_reconnects_total,
//	millrace_seeks_total
//	millrace_behind_seconds                     age of the oldest entry read and not done
//	millrace_working, millrace_held, millrace_parked, millrace_paused
//	millrace_window_used, millrace_window_size,
//	millrace_window_bytes_used, millrace_window_bytes_size
//	millrace_lag_seconds                        age of the oldest entry of the stream not done
//	millrace_lag_entries                        their number; absent when Redis cannot tell
//	millrace_pending_entries                    delivered to the group and not acked
//	millrace_live, millrace_ready               1 is well
//	millrace_process_duration_seconds{error_type}   histogram, by Middleware
//	millrace_entry_age_seconds                      histogram, by Middleware
//
// All but the last seven are those of [millrace/stream.Stats], whose documentation says what
// they count; a number that it gets is exported, too. An error_type is the Go type of the
// innermost error, or decode, panic or claimed. It never has the text of an error.
//
// A lag, and pending entries, are asked of Redis at a scrape, at most each 15 seconds
// ([Config].LagEvery), with the rights that [millrace/stream.Consumer.Lag] names. A scrape does
// not wait for a Redis that is away: those series are absent then.
//
// # Costs
//
// Without [Collector.Middleware] nothing is done for an entry. With it, two readings of a clock
// and two histograms: 100 to 150 nanoseconds and no allocation, see package otelstream.
//
// # Dashboard and alerts
//
// The files dashboard.json, for Grafana, and alerts.yaml, for Prometheus, are beside this
// package, and [Dashboard] and [Alerts] return them. They are made of the list of metrics by
// go generate.
package promstream
