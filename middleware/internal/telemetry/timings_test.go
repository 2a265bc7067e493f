package telemetry_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/middleware/internal/telemetry"
	"millrace/stream"
)

func TestHistogramBuckets(t *testing.T) {
	t.Parallel()
	h := telemetry.NewHistogram([]time.Duration{time.Millisecond, time.Second}, time.Nanosecond)
	for _, d := range []time.Duration{-time.Hour, 0, time.Millisecond, time.Millisecond + 1, time.Second, time.Minute} {
		h.Record(d, nil)
	}
	h.Record(time.Hour, &telemetry.Exemplar{SpanID: [8]byte{1}})
	got := h.Data()
	if !slices.Equal(got.Counts, []uint64{3, 2, 2}) || !slices.Equal(got.Bounds, []float64{0.001, 1}) || got.Count != 7 {
		t.Errorf("the histogram is %+v", got)
	}
	if want := 3600 + 60 + 1 + 0.002; math.Abs(got.Sum-want) > 1e-6 {
		t.Errorf("the sum is %v, want %v", got.Sum, want)
	}
	if len(got.Exemplars) != 1 || got.Exemplars[0].Value != time.Hour || time.Since(got.Exemplars[0].Time) > time.Minute || got.Exemplars[0].SpanID[0] != 1 {
		t.Errorf("the exemplars are %+v", got.Exemplars)
	}
}

// No measurement is lost or counted twice, however large, and whoever reads meanwhile.
func TestHistogramIsExact(t *testing.T) {
	t.Parallel()
	const goroutines, each = 4, 100_000
	durations := []time.Duration{1, 9 * time.Second, 17 * time.Second, 18 * time.Second, time.Hour, 100 * time.Hour}
	h := telemetry.NewHistogram([]time.Duration{time.Second, time.Minute}, time.Nanosecond)
	var work sync.WaitGroup
	var want float64
	for range goroutines {
		for i := range each {
			want += durations[i%len(durations)].Seconds()
		}
		work.Go(func() {
			for i := range each {
				h.Record(durations[i%len(durations)], nil)
				if i%1000 == 0 {
					h.Data()
				}
			}
		})
	}
	work.Wait()
	if got := h.Data(); got.Count != goroutines*each || math.Abs(got.Sum/want-1) > 1e-9 {
		t.Errorf("%d measurements of %v seconds, want %v", got.Count, got.Sum, want)
	}
	// Without a reader, so that each part of the word overflows.
	for _, tc := range []struct {
		d time.Duration
		n uint64
	}{{1, 3_000_000}, {17 * time.Second, 5000}} {
		h := telemetry.NewHistogram(nil, time.Nanosecond)
		for range tc.n {
			h.Record(tc.d, nil)
		}
		if got := h.Data(); got.Count != tc.n || math.Abs(got.Sum/(float64(tc.n)*tc.d.Seconds())-1) > 1e-9 {
			t.Errorf("%d measurements of %v: %d, of %v seconds", tc.n, tc.d, got.Count, got.Sum)
		}
	}
}

// The age is that of the ID; an ID that is no time has none.
func TestAges(t *testing.T) {
	t.Parallel()
	for id, known := range map[string]bool{
		fmt.Sprintf("%d-0", time.Now().Add(-time.Minute).UnixMilli()): true,
		"7": false, "": false, "-1": false, "x-1": false, "18446744073709551615-0": false, "9223372036854775807-0": false,
	} {
		var timings telemetry.Timings
		timings.Of(telemetry.Key{Stream: "orders"}).Record(telemetry.Now(), &stream.Entry{ID: id}, stream.OutcomeHandled, "", nil)
		age := timings.Data()[0].Age
		if (age.Count == 1) != known || known && math.Abs(age.Sum-60) > 30 {
			t.Errorf("%q: %d ages, of %v seconds", id, age.Count, age.Sum)
		}
	}
}

// Types of errors without end are one series.
func TestErrorTypesAreLimited(t *testing.T) {
	t.Parallel()
	var timings telemetry.Timings
	timing := timings.Of(telemetry.Key{Stream: "orders"})
	for i := range 100 {
		timing.Record(telemetry.Now(), &stream.Entry{}, stream.OutcomeHeld, fmt.Sprint(i), nil)
	}
	process := timings.Data()[0].Process
	if len(process) != 1+32+1 || process[telemetry.OtherError].Count != 68 {
		t.Errorf("there are %d series, and %d others", len(process), process[telemetry.OtherError].Count)
	}
}

// A chain belongs to one consumer, whose name may change from Run to Run.
func TestPerReader(t *testing.T) {
	t.Parallel()
	made := 0
	readers := telemetry.PerReader[string]{New: func(id stream.Identity) string { made++; return id.Stream }}
	a, b := &stream.Entry{Stream: "a"}, &stream.Entry{Stream: "b"}
	for _, entry := range []*stream.Entry{a, a, b, b, a} {
		if got := readers.Of(entry); got != entry.Stream {
			t.Errorf("the value of %s is %s", entry.Stream, got)
		}
	}
	if made != 3 {
		t.Errorf("%d values were made", made)
	}
}
