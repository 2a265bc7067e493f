package telemetry

import (
	"sync"
	"sync/atomic"
	"time"
)

// Histogram counts durations in buckets. It costs about a tenth of an OpenTelemetry histogram,
// because it has no attributes to look up. It is safe for concurrent use; [NewHistogram] makes
// one.
//
// A measurement is one atomic addition, of a count and a duration in one word, since a second
// one can be seen in the cost of an entry. The word of a bucket is emptied into its totals before
// either part overflows. Histogram.mu guards the totals.
type Histogram struct {
	bounds  []int64 // in grains
	grain   time.Duration
	buckets []bucket

	mu    sync.Mutex
	count []uint64 // by bucket
	sum   float64  // in seconds
}

// bucket has what was counted since it was last emptied.
type bucket struct {
	word     atomic.Uint64
	exemplar atomic.Pointer[Exemplar]
}

// The word of a bucket has the sum of durations in its low bits, and their count above. It is
// emptied when either is half full, so that the additions of many goroutines still fit.
const (
	sumBits  = 44
	sumMask  = 1<<sumBits - 1
	sumFull  = 1 << (sumBits - 1)
	oneCount = 1 << sumBits
	full     = 1 << (64 - sumBits - 1)
	// largest is the limit of a duration in a word, 17 seconds in nanoseconds: more than 500
	// have to come at once to overflow the half that is free. A longer one is added to the
	// totals.
	largest = 1 << (sumBits - 10)
)

// Exemplar is a measurement that was made while a sampled span was at work.
type Exemplar struct {
	TraceID [16]byte
	SpanID  [8]byte
	// Value and Time are set when it is recorded.
	Value time.Duration
	Time  time.Time
}

// NewHistogram returns a histogram with the upper bounds of its buckets, ascending; one more
// bucket has everything above. Its sum is exact to a grain for each
// measurement, which is to be a nanosecond, or a millisecond for durations of hours.
func NewHistogram(bounds []time.Duration, grain time.Duration) *Histogram {
	h := &Histogram{grain: grain, buckets: make([]bucket, len(bounds)+1), count: make([]uint64, len(bounds)+1)}
	for _, bound := range bounds {
		h.bounds = append(h.bounds, int64(bound/grain))
	}
	return h
}

// Record counts a duration. A negative one, which different clocks can make, counts as zero. The
// exemplar becomes that of the bucket; nil leaves the one that is there.
func (h *Histogram) Record(d time.Duration, exemplar *Exemplar) {
	h.recordGrains(int64(d/h.grain), exemplar)
}

// recordGrains is Record without a division, which costs as much as the rest.
func (h *Histogram) recordGrains(n int64, exemplar *Exemplar) {
	n = max(0, n)
	i := 0
	for i < len(h.bounds) && n > h.bounds[i] {
		i++
	}
	b := &h.buckets[i]
	if n < largest {
		if word := b.word.Add(oneCount + uint64(n)); word&sumMask >= sumFull || word>>sumBits >= full {
			h.empty(i, 0)
		}
	} else {
		h.empty(i, n)
	}
	if exemplar != nil {
		kept := *exemplar
		kept.Value, kept.Time = time.Duration(n)*h.grain, time.Now()
		b.exemplar.Store(&kept)
	}
}

// empty adds the content of a bucket to the totals, and one long duration unless it is zero.
func (h *Histogram) empty(i int, long int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.emptyLocked(i)
	if long > 0 {
		h.count[i]++
		h.sum += float64(long) * h.grain.Seconds()
	}
}

// emptyLocked empties a bucket. h.mu must be held.
func (h *Histogram) emptyLocked(i int) {
	word := h.buckets[i].word.Swap(0)
	h.count[i] += word >> sumBits
	h.sum += float64(word&sumMask) * h.grain.Seconds()
}

// HistogramData are the numbers of a [Histogram] at one moment.
type HistogramData struct {
	// Bounds are the upper bounds of the buckets in seconds, and Counts how many measurements
	// each bucket has, with one more for those above.
	Bounds []float64
	Counts []uint64
	// Count is the sum of Counts, and Sum that of the measurements in seconds.
	Count uint64
	Sum   float64
	// Exemplars are the last ones of the buckets that have one.
	Exemplars []Exemplar
}

// Data returns the numbers. Each measurement is in the counts and in the sum, or in neither.
func (h *Histogram) Data() HistogramData {
	h.mu.Lock()
	defer h.mu.Unlock()
	data := HistogramData{Bounds: make([]float64, len(h.bounds)), Counts: make([]uint64, len(h.buckets))}
	for i, bound := range h.bounds {
		data.Bounds[i] = (time.Duration(bound) * h.grain).Seconds()
	}
	for i := range h.buckets {
		h.emptyLocked(i)
		data.Counts[i] = h.count[i]
		data.Count += h.count[i]
		if exemplar := h.buckets[i].exemplar.Load(); exemplar != nil {
			data.Exemplars = append(data.Exemplars, *exemplar)
		}
	}
	data.Sum = h.sum
	return data
}
