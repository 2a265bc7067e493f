package otelstream

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"millrace/middleware/internal/telemetry"
	"millrace/stream"
)

// operations has the durations of commands, and the number of values that were published. The
// zero value is ready, and safe for concurrent use.
type operations struct {
	mu    sync.Mutex
	byKey map[operationKey]*operation
}

// operationKey names one operation on a stream.
type operationKey struct {
	telemetry.Key
	name, kind string
}

// operation has the numbers of one key.
type operation struct {
	operationKey
	fine   *telemetry.Histogram
	failed telemetry.Failures
	sent   atomic.Int64 // values that were written
	unsent sync.Map     // by the type of their error: *atomic.Int64
}

// of returns the numbers of a key.
func (o *operations) of(key operationKey) *operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	if op := o.byKey[key]; op != nil {
		return op
	}
	if o.byKey == nil {
		o.byKey = make(map[operationKey]*operation)
	}
	op := &operation{operationKey: key, fine: telemetry.NewHistogram(telemetry.Durations, time.Nanosecond)}
	o.byKey[key] = op
	return op
}

// all returns all operations in an order that does not change.
func (o *operations) all() []*operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]*operation, 0, len(o.byKey))
	for _, op := range o.byKey {
		list = append(list, op)
	}
	slices.SortFunc(list, func(a, b *operation) int { return cmp.Or(cmp.Compare(a.name, b.name), a.Compare(b.Key)) })
	return list
}

// published counts and measures a call of a producer.
func (o *operations) published(p *stream.Publishing, begun time.Duration, errorType string, exemplar *telemetry.Exemplar) {
	op := o.of(operationKey{telemetry.Key{Stream: p.Stream}, operationPublish, "send"})
	op.record(telemetry.Now()-begun, errorType, exemplar)
	if p.Results == nil { // the middleware further in has not called the next one
		op.count(errorType, int64(p.Count))
		return
	}
	for i := range p.Results {
		op.count(telemetry.TypeOf(p.Results[i].Err), 1)
	}
}

// record notes how long the operation took.
func (op *operation) record(took time.Duration, errorType string, exemplar *telemetry.Exemplar) {
	h := op.fine
	if errorType != "" {
		h = op.failed.Of(errorType)
	}
	h.Record(took, exemplar)
}

// count counts values by the type of their error, "" for those that were written.
func (op *operation) count(errorType string, values int64) {
	if errorType == "" {
		op.sent.Add(values)
		return
	}
	counted, found := op.unsent.Load(errorType)
	if !found {
		counted, _ = op.unsent.LoadOrStore(errorType, new(atomic.Int64))
	}
	counted.(*atomic.Int64).Add(values)
}

// eachSent calls the function with the number of values by the type of their error.
func (op *operation) eachSent(yield func(errorType string, values int64)) {
	yield("", op.sent.Load())
	op.unsent.Range(func(errorType, values any) bool {
		yield(errorType.(string), values.(*atomic.Int64).Load())
		return true
	})
}

// attributes are those of a series of the operation.
func (op *operation) attributes(errorType string) []attribute.KeyValue {
	return keyAttributes(op.Key, operationAttributes(op.name, op.kind, errorType)...)
}

// OnRead measures a read that found entries at once; one that waited for them tells how long
// there were none. See [millrace/stream.ReadObserver].
func (t *Telemetry) OnRead(read stream.EntriesRead) {
	if t == nil || read.Waited {
		return
	}
	t.operations.of(operationKey{telemetry.KeyOf(read.Identity), operationReceive, "receive"}).record(read.Duration, "", nil)
}

// OnSettle measures the saving of an offset and the acking of entries. See
// [millrace/stream.SettleObserver].
func (t *Telemetry) OnSettle(settled stream.EntriesSettled) {
	if t == nil {
		return
	}
	t.operations.of(operationKey{telemetry.KeyOf(settled.Identity), operationAck, "settle"}).record(settled.Duration, "", nil)
}
