package history

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"millrace/offset"
	"millrace/stream"
)

// Recorder keeps the history of a test for [Verify]. The zero value is ready to use, and keeps
// events in memory only. A Recorder is safe for concurrent use, but its fields have to be set
// before.
type Recorder struct {
	// Key is the name of the field whose value is the key of an entry. If Key is empty, entries
	// have no keys. [ByKey] order and the verdict [Doubled] need keys.
	Key string
	// Out, if it is not nil, receives each event, as a line, before the work that the event is
	// about goes on. The history of a killed process is therefore complete up to the kill. See
	// [Append].
	Out io.Writer

	mu     sync.Mutex
	events []Event
	err    error
}

// Events returns a copy of the events that this Recorder has recorded so far. For the events of
// other processes see [ReadFile]. The error is the first error of a write to Out.
func (r *Recorder) Events() ([]Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events), r.err
}

// Add records an event of the test's own making. If At is not set, it is set to the current
// time.
func (r *Recorder) Add(event Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if event.At.IsZero() {
		event.At = time.Now()
	}
	r.events = append(r.events, event)
	if r.Out != nil {
		if err := writeEvent(r.Out, event); err != nil && r.err == nil {
			r.err = err
		}
	}
}

// Publish calls publish, and records the call and its result: acknowledged with an ID, or, if
// there is an error, unknown. It returns the results of publish. By names the publisher. Key is
// the key of the message, or empty.
func (r *Recorder) Publish(by, key string, publish func() (id string, err error)) (string, error) {
	r.Add(Event{Kind: Publishing, By: by, Key: key})
	id, err := publish()
	if err != nil {
		r.Add(Event{Kind: PublishUnknown, By: by, Key: key, Text: err.Error()})
	} else {
		r.Add(Event{Kind: Published, By: by, Key: key, ID: id})
	}
	return id, err
}

// Middleware returns a middleware that records each delivery to the consumer that by names, and
// the result of its handling. Use it as the outermost middleware, the first of
// [stream.WithMiddleware], so that it records the result that the engine gets. By should be a
// name that no other run of the consumer has.
func (r *Recorder) Middleware(by string) stream.Middleware {
	return func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			key := ""
			if r.Key != "" {
				key, _ = entry.Fields.Get(r.Key)
			}
			r.Add(Event{Kind: Delivered, By: by, ID: entry.ID, Key: key, Sum: sumOf(entry)})
			err := next(ctx, entry)
			event := Event{Kind: Handled, By: by, ID: entry.ID, Key: key, Passed: passes(ctx, err)}
			if err != nil {
				event.Text = err.Error()
			}
			r.Add(event)
			return err
		}
	}
}

// sumOf returns the hash of an entry's fields, or 0 if its fields were not read.
func sumOf(entry *stream.Entry) uint64 {
	if entry.Fields.Len() == 0 {
		return 0
	}
	return SumOf(entry.Fields)
}

// passes reports whether the result of a handling ends the processing of an entry. After a
// stop, only a success and a skip do.
func passes(ctx context.Context, err error) bool {
	var (
		skip       *stream.SkipError
		decode     *stream.DecodeError
		deadLetter *stream.DeadLetterError
	)
	return err == nil || errors.As(err, &skip) || ctx.Err() == nil && (errors.As(err, &decode) || errors.As(err, &deadLetter))
}

// Store returns a store that passes loads and saves on to another one, and records them as
// those of the consumer that by names. A load is recorded when it has found an offset. A save
// is recorded before it is tried, as a failed save may have succeeded all the same, and again
// when it has succeeded. If the other store is an [offset.Resetter], the returned one is a
// Resetter, too, and records resets like saves. Other optional interfaces of package offset are
// not passed on.
func (r *Recorder) Store(by string, store offset.Store) offset.Store {
	recorded := &recordedStore{Store: store, recorder: r, by: by}
	if resetter, ok := store.(offset.Resetter); ok {
		return &recordedResetter{recorded, resetter}
	}
	return recorded
}

type recordedStore struct {
	offset.Store
	recorder *Recorder
	by       string
}

func (s *recordedStore) Load(ctx context.Context, label string) (string, bool, error) {
	id, found, err := s.Store.Load(ctx, label)
	if found && err == nil {
		s.recorder.Add(Event{Kind: Loaded, By: s.by, Label: label, ID: id})
	}
	return id, found, err
}

func (s *recordedStore) Save(ctx context.Context, label, id string) error {
	s.recorder.Add(Event{Kind: Saving, By: s.by, Label: label, ID: id})
	err := s.Store.Save(ctx, label, id)
	if err == nil {
		s.recorder.Add(Event{Kind: Saved, By: s.by, Label: label, ID: id})
	}
	return err
}

type recordedResetter struct {
	*recordedStore
	resetter offset.Resetter
}

func (s *recordedResetter) Reset(ctx context.Context, label, id string) error {
	s.recorder.Add(Event{Kind: Resetting, By: s.by, Label: label, ID: id})
	err := s.resetter.Reset(ctx, label, id)
	if err == nil {
		s.recorder.Add(Event{Kind: Reset, By: s.by, Label: label, ID: id})
	}
	return err
}

// Inject records that a fault begins. Call it before the fault is injected. The function that
// it returns records that the fault is over: a process is killed, or Redis works again. The
// fault explains no repeat of an entry that is first delivered after that, and no loss of an
// entry that is first recorded after that.
func (r *Recorder) Inject(fault Fault) (over func()) {
	r.Add(Event{Kind: FaultBegun, Text: fault.Name, May: &fault})
	return func() { r.Add(Event{Kind: FaultOver, Text: fault.Name}) }
}

// Report records that the consumer that by names has reported a loss, with the message text, of
// the entries from one ID to another, both included. An empty ID leaves the range open at that
// end.
func (r *Recorder) Report(by, text, from, to string) {
	r.Add(Event{Kind: Reported, By: by, Text: text, ID: from, To: to})
}

// AwaitHandled waits until this Recorder knows that each of the entries with these IDs was
// handled to its end. It returns false after 30 seconds in which none of the missing entries
// was handled. [Verify] then names the missing entries, and keeps the history.
func (r *Recorder) AwaitHandled(ids []string) bool {
	missing := make(map[string]bool, len(ids))
	for _, id := range ids {
		missing[id] = true
	}
	const patience = 30 * time.Second
	tick, deadline := time.NewTicker(5*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer deadline.Stop()
	for looked := 0; ; {
		before := len(missing)
		looked = r.handledSince(looked, missing)
		if len(missing) == 0 {
			return true
		}
		if len(missing) < before {
			deadline.Reset(patience)
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		}
	}
}

// handledSince removes from a set the IDs of the entries that were handled to their end from a
// position of the history on. It returns the position for the next call.
func (r *Recorder) handledSince(position int, ids map[string]bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, event := range r.events[position:] {
		if event.Kind == Handled && event.Passed {
			delete(ids, event.ID)
		}
	}
	return len(r.events)
}
