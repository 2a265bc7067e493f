package telemetry

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/stream"
)

// origin is the zero of a clock: time.Since costs half as much as time.Now.
var (
	origin   = time.Now()
	originMs = origin.UnixMilli()
)

// Now returns the time since the program began.
func Now() time.Duration { return time.Since(origin) }

// Begun returns the begin of an entry's delivery for [Timing.Record], which the engine knows. For
// an entry that no consumer has read, as in a test of middleware, it is the time of the call.
func Begun(entry *stream.Entry) time.Duration {
	if at := entry.Begun(); !at.IsZero() {
		return at.Sub(origin)
	}
	return Now()
}

const (
	microsecond = time.Microsecond
	millisecond = time.Millisecond
)

// Durations are the bounds of a histogram of durations. From 5 milliseconds on they are those
// that OpenTelemetry recommends; a handler that only touches memory is below that.
var Durations = []time.Duration{
	100 * microsecond, 250 * microsecond, 500 * microsecond, millisecond, 2500 * microsecond,
	5 * millisecond, 10 * millisecond, 25 * millisecond, 50 * millisecond, 75 * millisecond, 100 * millisecond,
	250 * millisecond, 500 * millisecond, 750 * millisecond, time.Second, 2500 * millisecond, 5 * time.Second,
	7500 * millisecond, 10 * time.Second,
}

// ages are the bounds of the histogram of ages: entries can wait for long.
var ages = []time.Duration{
	millisecond, 5 * millisecond, 10 * millisecond, 50 * millisecond, 100 * millisecond, 500 * millisecond,
	time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 24 * time.Hour,
}

// maxErrorTypes is how many types of errors a key may have. Each has a histogram, and types are
// few, unless a program makes them by reflection.
const maxErrorTypes = 32

// OtherError stands for all types of errors beyond the limit, as the semantic conventions have
// it.
const OtherError = "_OTHER"

// Timings has the histograms of processing of all keys. The zero value is ready, and safe for
// concurrent use.
type Timings struct {
	// shift is how many milliseconds the time of day was set since origin, which the clock does
	// not know. It is found out at each collection.
	shift atomic.Int64

	mu    sync.Mutex
	byKey map[Key]*Timing
}

// Timing has the histograms of one key. It is safe for concurrent use.
type Timing struct {
	Key
	of *Timings
	// age is that of the entries that were handled, from their IDs on; fine has the deliveries
	// without an error type.
	age, fine *Histogram
	failed    Failures
}

// Failures has a histogram for each type of error. Failures are rare enough for a lock. The
// zero value is ready.
type Failures struct {
	mu     sync.Mutex
	byType map[string]*Histogram
}

// Of returns the histogram of a type of error.
func (f *Failures) Of(errorType string) *Histogram {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.byType[errorType]; h != nil {
		return h
	}
	if len(f.byType) >= maxErrorTypes && errorType != OtherError {
		errorType = OtherError
		if h := f.byType[errorType]; h != nil {
			return h
		}
	}
	if f.byType == nil {
		f.byType = make(map[string]*Histogram)
	}
	h := NewHistogram(Durations, time.Nanosecond)
	f.byType[errorType] = h
	return h
}

// Each calls the function with each type and its histogram, in the order of the types.
func (f *Failures) Each(yield func(errorType string, h *Histogram)) {
	f.mu.Lock()
	types := make([]string, 0, len(f.byType))
	for errorType := range f.byType {
		types = append(types, errorType)
	}
	f.mu.Unlock()
	slices.Sort(types)
	for _, errorType := range types {
		yield(errorType, f.Of(errorType))
	}
}

// Of returns the histograms of a key.
func (t *Timings) Of(key Key) *Timing {
	t.mu.Lock()
	defer t.mu.Unlock()
	if timing := t.byKey[key]; timing != nil {
		return timing
	}
	if t.byKey == nil {
		t.byKey = make(map[Key]*Timing)
	}
	timing := &Timing{Key: key, of: t, age: NewHistogram(ages, millisecond), fine: NewHistogram(Durations, time.Nanosecond)}
	t.byKey[key] = timing
	return timing
}

// Record notes the end of a delivery that began at the time of [Begun]. Without an error
// type it was no failure. The age is recorded of entries that were handled. The exemplar may be
// nil.
func (t *Timing) Record(begun time.Duration, entry *stream.Entry, outcome stream.Outcome, errorType string, exemplar *Exemplar) {
	took := entry.Elapsed()
	if took == 0 { // no consumer has read it
		took = Now() - begun
	}
	if errorType != "" {
		t.failed.Of(errorType).recordGrains(int64(took), exemplar)
		return
	}
	t.fine.recordGrains(int64(took), exemplar)
	if outcome != stream.OutcomeHandled {
		return
	}
	if added, known := addedAt(entry.ID); known {
		at := originMs + t.of.shift.Load() + int64((begun+took)/millisecond)
		t.age.recordGrains(at-added, exemplar)
	}
}

// addedAt returns the milliseconds of an entry's ID. A whole parser would cost more than the
// histogram. IDs that publishers chose can be beyond the time that a duration holds: of those,
// and of an ID of a test, nothing is known.
func addedAt(id string) (ms int64, known bool) {
	const most = 1 << 42 // in the year 2109
	for i := range len(id) {
		c := id[i]
		if c == '-' {
			return ms, i > 0
		}
		if c < '0' || c > '9' {
			return 0, false
		}
		if ms = ms*10 + int64(c-'0'); ms > most {
			return 0, false
		}
	}
	return 0, false
}

// TimingData are the numbers of a [Timing] at one moment.
type TimingData struct {
	Key
	// Process has the durations by the type of error, "" for deliveries without one.
	Process map[string]HistogramData
	// Age has the ages of the entries that were handled.
	Age HistogramData
}

// Data returns the numbers of all keys, ordered by key.
func (t *Timings) Data() []TimingData {
	t.shift.Store(time.Now().UnixMilli() - originMs - int64(Now()/millisecond))
	t.mu.Lock()
	all := make([]*Timing, 0, len(t.byKey))
	for _, timing := range t.byKey {
		all = append(all, timing)
	}
	t.mu.Unlock()
	slices.SortFunc(all, func(a, b *Timing) int { return a.Compare(b.Key) })
	list := make([]TimingData, 0, len(all))
	for _, timing := range all {
		data := TimingData{Key: timing.Key, Age: timing.age.Data(), Process: map[string]HistogramData{"": timing.fine.Data()}}
		timing.failed.Each(func(errorType string, h *Histogram) { data.Process[errorType] = h.Data() })
		list = append(list, data)
	}
	return list
}
