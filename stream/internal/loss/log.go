package loss

import (
	"context"
	"slices"
	"sort"
	"sync"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/resp"
)

// LogFinder finds the losses of a consumer in log mode: it has the place of the reader, and
// holds the entries that were read against the state of the stream.
//
// Its lock, mu, guards all that follows it: entries may be read on a shared connection while
// the goroutine of the consumer looks around. A loss that one of the two notices waits in
// missing until Find is called.
type LogFinder struct {
	stream Stream

	mu    sync.Mutex
	from  resp.Place // behind the last entry that was read
	known history
	count count
	// recent is nil, unless KeepRecent was called.
	recent recent
	// missing is a loss that was noticed, vanished that the entry at the place was not
	// there when it was looked for.
	missing  Finding
	vanished bool
	// recount is set by a read that has failed while the count had no number, until the next look.
	recount bool
}

// NewLogFinder returns a finder whose place is not set yet.
func NewLogFinder(s Stream) *LogFinder {
	return &LogFinder{stream: s, count: uncounted("")}
}

// KeepRecent has LastKnown tell the last entry itself, as far as it is one of the last that were
// read, and not only the end of the batch before. It is called before the first read.
func (f *LogFinder) KeepRecent() { f.recent = make(recent, 0, 2*recentFor) }

// Place returns where to read on.
func (f *LogFinder) Place() resp.Place {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.from
}

// SetPlace sets where to read on.
func (f *LogFinder) SetPlace(from resp.Place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from = from
	f.count = uncounted(from.ID)
}

// Read takes note of entries that were read, the next behind the place, and reports whether
// there is nothing to Find.
func (f *LogFinder) Read(entries []resp.Entry) (sound bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from = resp.PlaceAfter(entries)
	f.known.add(f.from)
	if f.recent != nil {
		f.recent.add(entries)
	}
	f.noteLocked(f.count.read(entries))
	return f.missing.Cause == None
}

// Begin looks at the stream before anything is read. resumed says that the place is that of
// an earlier run.
func (f *LogFinder) Begin(ctx context.Context, resumed bool) error {
	_, err := f.survey(ctx, f.Place(), resumed)
	return err
}

// Look looks whether the stream still has the entry at the place, and whether entries have
// gone that were not read. It reports whether there is nothing to Find.
func (f *LogFinder) Look(ctx context.Context) (sound bool, err error) {
	from := f.Place()
	seen, err := f.survey(ctx, from, false)
	if err != nil || seen == nil {
		return true, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.missing.Cause == None && from.Seen && f.from == from && !seen.witness {
		f.vanished = seen.last != from.ID || seen.other // or nothing has come
	}
	return f.missing.Cause == None && !f.vanished, nil
}

// survey looks at the stream, and compares the count with it. It returns nil without the
// right to look: the losses that reads show are found all the same.
func (f *LogFinder) survey(ctx context.Context, from resp.Place, resumed bool) (*survey, error) {
	seen, err := f.stream.survey(ctx, from)
	if conn.Classify(err).Withheld {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recount = false
	switch {
	case seen.added == 0 && !seen.missing: // the server does not count
		f.count = uncounted(f.from.ID)
	case f.from == from:
		f.noteLocked(f.count.compare(from, seen, resumed))
	default: // more was read meanwhile
		f.count.expect(f.from, seen)
	}
	return &seen, nil
}

// noteLocked takes note of a loss, if it is one. f.mu must be held.
func (f *LogFinder) noteLocked(found Finding) {
	if found.Cause == None {
		return
	}
	if found.Cause == Recreated {
		// Entries that were read of the other stream may be behind some that were not.
		f.known.cut(found.From)
		f.recent = f.recent[:len(f.recent)-len(f.recent.behind(found.From))]
	}
	f.missing = found
}

// Find returns a loss that Read or Look has noticed.
func (f *LogFinder) Find(ctx context.Context) (Finding, error) {
	f.mu.Lock()
	found, vanished := f.missing, f.vanished
	f.missing, f.vanished = Finding{}, false
	f.mu.Unlock()
	if vanished {
		return f.Inspect(ctx)
	}
	return found, nil
}

// Inspect finds the loss behind an entry at the place that has gone; it may be none.
func (f *LogFinder) Inspect(ctx context.Context) (Finding, error) {
	from := f.Place()
	seen, err := f.stream.survey(ctx, from)
	if err != nil {
		return Finding{}, err
	}
	if seen.witness {
		return Finding{}, conn.ErrOtherServer
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	found := seen.diagnose(from.ID, f.count.ordinal)
	if found.Cause == None || found.Cause == Trimmed {
		f.from.Seen = false // it is not looked for again
	}
	if found.Cause != None {
		f.missing = Finding{} // it is part of this
		f.count = uncounted(from.ID)
		if found.Cause == Trimmed && seen.added > 0 {
			f.count.ordinal = seen.gone()
		}
	}
	return found, nil
}

// ReadFailed takes note of a read that has failed: another server may answer from now on, and
// the number of entries that this one has told is not its own.
func (f *LogFinder) ReadFailed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.mark = mark{}
	f.recount = f.count.ordinal < 0
}

// IsUncounted reports, once after a failed read, whether it is time to look: without a number, a
// stream from which everything was trimmed that was read cannot be told from one that has lost
// entries.
func (f *LogFinder) IsUncounted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	recount := f.recount
	f.recount = false
	return recount
}

// LastKnown is behind the newest entry that was read and that the stream still has.
func (f *LogFinder) LastKnown(ctx context.Context) (resp.Place, error) {
	f.mu.Lock()
	known, recent := slices.Clone(f.known.places), slices.Clone(f.recent)
	f.mu.Unlock()
	for _, one := range slices.Backward(known) {
		there, err := conn.HasEntry(ctx, f.stream.Client, f.stream.Name, one.Place, f.stream.MaxEntry)
		if err != nil {
			return resp.Place{}, err
		}
		if there {
			return f.lastOf(ctx, recent.behind(one.ID), one.Place)
		}
	}
	return resp.Place{ID: resp.Beginning}, nil
}

// lastOf returns the place behind the last of entries that the stream still has, or the given one if
// it has none of them. A stream that falls back loses its end: all before an entry that is there
// are there too, but for those that were trimmed or deleted.
func (f *LogFinder) lastOf(ctx context.Context, ids recent, p resp.Place) (resp.Place, error) {
	var failure error
	n := sort.Search(len(ids), func(i int) bool {
		if failure != nil {
			return true
		}
		one := resp.Place{ID: ids[i].String(), Seen: true}
		there, err := conn.HasEntry(ctx, f.stream.Client, f.stream.Name, one, f.stream.MaxEntry)
		failure = err
		return !there
	})
	if failure != nil {
		return resp.Place{}, failure
	}
	if n > 0 {
		p = resp.Place{ID: ids[n-1].String(), Seen: true}
	}
	return p, nil
}
