package stream

import (
	"log/slog"
	"time"

	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// The events of a run are counted in the meter, and told to the observers and in the log.
// Deliveries are told by their worker.

// tellRead tells of entries that were read.
func (r *run) tellRead(b resp.Batch, asked time.Time) {
	if list := r.engine.config.observers.read; len(list) > 0 {
		event := EntriesRead{
			Identity: r.reader.Identity, Entries: b.Len(), LastID: b.LastID(), Duration: time.Since(asked), Waited: b.Waited,
		}
		tell(r.engine, list, func(o ReadObserver) { o.OnRead(event) })
	}
}

// tellSettled tells of entries that were settled.
func (r *run) tellSettled(entries int, last string, begun time.Time) {
	list := r.engine.config.observers.settle
	if len(list) == 0 {
		return
	}
	event := EntriesSettled{Identity: r.reader.Identity, Entries: entries, Duration: time.Since(begun)}
	if !r.engine.inGroup() {
		event.LastID = last
	}
	tell(r.engine, list, func(o SettleObserver) { o.OnSettle(event) })
}

// NoteClaimed notes entries that became ours.
func (r *run) NoteClaimed(entries int, handedBack bool) {
	e := r.engine
	e.meter.update(func(m *meter) { m.claimed += int64(entries) })
	if list := e.config.observers.claim; len(list) > 0 {
		event := EntriesClaimed{Identity: r.reader.Identity, Entries: entries, HandedBack: handedBack}
		tell(e, list, func(o ClaimObserver) { o.OnClaim(event) })
	}
}

// NoteHandedBack counts entries that were given back.
func (r *run) NoteHandedBack(entries int64) {
	r.engine.meter.update(func(m *meter) { m.handedBack += entries })
}

// NoteLoss counts entries that are lost, tells the observers, and logs the loss if the log does
// not have it already.
func (r *run) NoteLoss(log *slog.Logger, found loss.Finding) {
	e := r.engine
	if log != nil {
		log.Error("entries lost", "cause", string(lossCauses[found.Cause]), "from", found.From, "to", found.To, "count", found.Count, "exact", found.Exact)
	}
	err := e.lossError(found)
	e.meter.update(func(m *meter) { m.lost += max(1, found.Count) })
	tell(e, e.config.observers.loss, func(o LossObserver) { o.OnLoss(r.reader.Identity, err) })
}

// reportFull says that nothing more is read, and which entry is in the way.
func (r *run) reportFull(id string, stands window.State, bytes int64) {
	how := "is at work"
	if stands == window.Waiting {
		how = "failed, and waits to be delivered again"
	} else if stands == window.Writing {
		how = "waits for its dead letter to be written"
	} else if stands != window.Working {
		how = "waits to be begun or settled"
	}
	what := "the window is full"
	if bytes > int64(r.window.Bytes/2) {
		what = "the window is full of large entries"
	}
	r.engine.log.Warn("reading paused: "+what+" behind an entry that "+how, "entry_id", id, "window", r.window.Size, "bytes", bytes, "window_bytes", r.window.Bytes)
	if len(r.engine.config.observers.full) > 0 {
		event := WindowFull{Identity: r.reader.Identity, EntryID: id, Size: r.window.Size, Bytes: bytes, SizeBytes: int64(r.window.Bytes)}
		tell(r.engine, r.engine.config.observers.full, func(o FullObserver) { o.OnFull(event) })
	}
}

// rival is another consumer that works under the identity of this one, its name in the
// group or its label, so that entries are handled twice. The lock of the meter guards it.
type rival struct {
	text   string
	until  time.Time // Health tells of it for as long
	logged time.Time
}

// NoteRival tells that there is a rival: in the log now and then, and in Health for the
// given time.
func (r *run) NoteRival(log *slog.Logger, text string, lasts time.Duration) {
	now, logs := time.Now(), false
	r.engine.meter.update(func(m *meter) {
		m.rival.text, m.rival.until = text, now.Add(lasts)
		if logs = now.Sub(m.rival.logged) >= task.LogInterval; logs {
			m.rival.logged = now
		}
	})
	if logs {
		log.Warn(text)
	}
}

// reason returns the Health.Reason for a rival, empty if there is none now.
func (r *rival) reason(now time.Time) string {
	if now.Before(r.until) {
		return r.text
	}
	return ""
}
