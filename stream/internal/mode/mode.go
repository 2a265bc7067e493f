package mode

import (
	"context"
	"log/slog"
	"time"

	"millrace/stream/internal/commit"
	"millrace/stream/internal/effect"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/later"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// Mode is how a mode reads, delivers and settles in one run.
type Mode struct {
	Source    Source
	Deliverer Deliverer
	Settler   commit.Settler
	Consumer  string // its name in the group; empty in log mode
	// Seek sets the place that is stored: of the label or the group. It returns the place before
	// and the new one. It comes while nothing is read or settled: before Start, or after Stop.
	Seek func(ctx context.Context, to Start) (from, at string, err error)
	// Postpone has an entry, which a worker has, wait outside of the window and of the stream's
	// pending entries, to be delivered again after a time, and tries until that is known. Without an
	// error the worker is to forget the entry. commit.ErrClaimed says that it is another consumer's;
	// after any other error the entry is as it was, unless ctx is done. It is nil in log mode, which
	// has no place for such an entry.
	Postpone func(ctx context.Context, it *window.Item, after time.Duration) error
	// Tasks are the work that comes up beside reading. They run while handlers may be at work.
	Tasks []*task.Task
}

// Source is where entries come from.
type Source interface {
	// Start finds the place to begin at. It comes before everything else.
	Start(ctx context.Context) error
	// Fetch waits for room in the window, then for new entries, for at most the block time,
	// and gives them to Host.Take. No entries and no error is the normal outcome of an idle
	// stream, ErrOver that of the bound.
	Fetch(ctx context.Context) error
	// Recall has a fetch that waits come back soon, and keeps none from waiting. It may be
	// called at any time, and does not wait.
	Recall()
	// Interrupt ends a fetch that waits, and keeps another one from waiting. It may be called
	// at any time, and more than once.
	Interrupt()
	// Stop settles the entries that have ended, and gives up the others, when all handlers have
	// returned. It makes one try.
	Stop(ctx context.Context) error
	// Close comes after everything else, and ends the connection that was read from. It
	// may come without Start and Stop.
	Close() error
}

// Deliverer makes entries ready for their handler.
type Deliverer interface {
	// Begin makes an entry, which a worker has, ready to be delivered once more, and counts
	// the delivery. It reports false if the entry is not to be delivered now: then the worker
	// has it no more.
	Begin(ctx context.Context, it *window.Item) bool
}

// Host is the run, for its mode.
type Host interface {
	Reading
	Settling
	Telling
}

// Reading is for the goroutine that reads, but for ReadsFail.
type Reading interface {
	// AwaitRoom waits until a batch fits into the window; it reports false if ctx is done
	// before.
	AwaitRoom(ctx context.Context) bool
	// Take puts entries that were read into the window, and reports whether there is room for
	// another batch. It is a feed.Sink.
	Take(b resp.Batch, at time.Time) (more bool)
	// NoteAnswer notes that the server has answered where a fetch goes on. Fetch itself need
	// not tell that it has worked.
	NoteAnswer()
	// ReadsFail reports whether reading fails now. Any goroutine may ask, with no lock held.
	ReadsFail() bool
}

// Settling is for workers before a delivery, and for the stop.
type Settling interface {
	// Persist does something until it works. Its error is that of ctx, or one that no waiting
	// can mend. The text names the thing for people, as in "reading failed".
	Persist(ctx context.Context, what string, do func(context.Context) error) error
	// Settle settles the entries that may be settled, until that works; SettleLast makes one
	// try.
	Settle(ctx context.Context) error
	SettleLast(ctx context.Context) error
	// StartOver has the run begin again with Source.Start, in another Mode: nothing more is begun,
	// handlers at work return, and what is not settled is given up, to be read again. It does not wait.
	StartOver()
}

// Telling is for the events of a mode. No lock may be held: observers are called. The lines
// that come of it go to the log that is given.
type Telling interface {
	// NoteLoss counts and tells entries that are lost. Without a log, they were logged already.
	NoteLoss(log *slog.Logger, found loss.Finding)
	// NoteClaimed counts and tells entries that became ours; they were handed back, or their
	// consumer seems to be dead. NoteHandedBack counts those that were given back.
	NoteClaimed(entries int, handedBack bool)
	NoteHandedBack(entries int64)
	// NoteRival tells that another consumer works under the identity of this one, for so long.
	NoteRival(log *slog.Logger, text string, lasts time.Duration)
	// NewOutage returns the outage of a thing that is tried again and again. It has not begun.
	NewOutage(log *slog.Logger, what string) task.Outage
}

// Settings are the values that both modes need.
type Settings struct {
	Host Host
	// Log is for the lines of the mode.
	Log *slog.Logger
	// Feed has the stream, and the clients. Group, Consumer and Guard are the mode's to set.
	Feed    feed.Settings
	Letters *commit.LetterWriter
	// Watch looks for entries that wait for their time.
	Watch *later.Watch
	// Effects are the targets that items in the window may have effects for (window.Item.Effects);
	// nil is a consumer without effects.
	Effects *effect.Targets
	Window  *window.Window
	Start   Start
	// Sought says that an operator has set the stored place since it was read from last: nothing
	// that was passed with that is lost.
	Sought bool
	Bound  *Bound // nil is none
	// MaxEntry limits the size of an entry whose fields are kept; nil is no limit.
	MaxEntry *int
}
