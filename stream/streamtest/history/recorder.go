package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"millrace/offset"
	"millrace/stream"
)

// Recorder keeps the history of a test for [Verify]. Its zero value is ready to
// use, and keeps events in memory only. It is safe for concurrent use; its fields
// are to be set before.
type Recorder struct {
	// Key is the field of an entry whose value is the entry's key. Empty, the
	// entries have no keys, which only [ByKey] order needs.
	Key string
	// Out, if there is one, is written each event, as a line, before what the
	// event is about goes on: of a process that is killed, everything up to
	// that instant is there. See [Append].
	Out io.Writer

	mu     sync.Mutex
	events []Event
	err    error
}

// Events returns a copy of what was recorded so far by this Recorder; see
// [ReadFile] for what other processes wrote. The error is the first that
// writing to Out gave.
func (r *Recorder) Events() ([]Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events), r.err
}

// Add records an event of the test's own making. At is set to now, if it is
// not set.
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

// Publish calls publish, and records that it is called, and what became of it:
// acknowledged with an ID, or, if there is an error, unknown. Key is the key of
// what is published, or empty.
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

// Middleware returns a middleware that records what is delivered to the
// consumer that by names, and what comes of it. As the outermost, the first of
// [stream.WithMiddleware], it records what the engine gets to see. By is best a
// name that no other run of the consumer has.
func (r *Recorder) Middleware(by string) stream.Middleware {
	return func(next stream.EntryHandler) stream.EntryHandler {
		return func(ctx context.Context, entry *stream.Entry) error {
			key := ""
			if value, ok := entry.Fields[r.Key]; ok && r.Key != "" {
				key = fmt.Sprint(value)
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

// SumOf returns the hash of an entry's fields, 0 of one whose fields were not read.
func sumOf(entry *stream.Entry) uint64 {
	if entry.Fields == nil {
		return 0
	}
	return SumOf(entry.Fields)
}

// passes reports whether an outcome ends the processing of an entry. After a stop,
// failures do not.
func passes(ctx context.Context, err error) bool {
	var (
		skip       *stream.SkipError
		decode     *stream.DecodeError
		deadLetter *stream.DeadLetterError
	)
	return err == nil || errors.As(err, &skip) || ctx.Err() == nil && (errors.As(err, &decode) || errors.As(err, &deadLetter))
}

// Store returns a store that records what is loaded from and saved to another
// one, by the consumer that by names. A save is recorded before it is tried,
// as one that fails may have succeeded all the same, and when it has succeeded. It
// is an [offset.Resetter], of which the same is recorded, if the other one is.
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

// Inject records that a fault begins; call it before the fault is injected. The
// function that it returns records that it is over: a process is killed, or
// Redis works again. What was delivered after that cannot be put down to it.
func (r *Recorder) Inject(fault Fault) (over func()) {
	r.Add(Event{Kind: FaultBegun, Text: fault.Name, May: &fault})
	return func() { r.Add(Event{Kind: FaultOver, Text: fault.Name}) }
}

// Report records that the consumer has told of a loss: of the entries from one
// ID to another, both included. Empty ones mean that it did not say.
func (r *Recorder) Report(by, text, from, to string) {
	r.Add(Event{Kind: Reported, By: by, Text: text, ID: from, To: to})
}

// AwaitHandled waits until this Recorder knows that each of the entries with
// these IDs was handled to its end. It gives up when nothing was handled for 30
// seconds, and returns false: [Verify] says then what is missing, and keeps the
// history.
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

// handledSince removes from a set the IDs that were handled from a position of
// the history on, and returns the position to go on at.
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
