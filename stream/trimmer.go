package stream

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/task"
)

// Run trims at once and then after each interval ([WithTrimInterval]), until ctx is
// done, and returns nil then. It may be added to a [Runner].
//
// Its work is logged, each kind at most every half minute: trimmed entries (Info), and losses
// by a hard limit (Error, one line for each group and label, sums included). If the same owner
// has stood at the same entry for longer than [WithHeldWarning], that is logged (Warn), and so
// is a stream of which no position is known, once each time as long.
//
// Trouble with Redis and the stores does not end Run: it is logged when it begins, every half
// minute, and when it is over, and tried again. Trouble that no waiting can mend ends it, as
// with [Consumer.Run]. Run has a connection of its own, as a consumer has, and returns promptly
// when ctx is done.
func (t *Trimmer) Run(ctx context.Context) error {
	if ctx == nil {
		return errors.New("stream: Run was given no context; pass the one whose end is to stop the trimmer")
	}
	conns, disconnect := feed.ConnsOf(ctx)
	defer disconnect()
	t, err := t.on(conns)
	if err != nil {
		return err
	}
	log := t.config.logger.With("stream", t.stream)
	watch := trimWatch{log: log, patience: t.config.held}
	defer watch.end()
	var trouble incident
	const what = "trimming"
	for first := true; ; first = false {
		result, err := t.trim(ctx)
		watch.see(result, err, time.Now())
		if report := t.config.report; report != nil {
			if err := isolated(func() error { report(result); return nil }); err != nil {
				log.Error("the function of WithTrimReport panicked; it should be mended, and changes nothing here", "err", err)
			}
		}
		wait := t.config.interval
		switch {
		case err == nil || errors.Is(err, ErrNoPosition):
			if trouble.Failures > 0 {
				trouble.over(log, what)
				trouble = incident{}
			}
		case ctx.Err() != nil:
			return nil
		default:
			if classify(err).Ends(first) {
				return err
			}
			trouble.add(log, what, err)
			conn.Relocate(t.client, err)
			wait = min(wait, task.Recovery.Delay(trouble.Failures))
		}
		if !task.Sleep(ctx, wait) {
			return nil
		}
	}
}

// on returns a trimmer that sends its commands, and those of the stores that live in
// Redis, with conns. It sends one command, a script with one key: a hook that changes that
// does so each time.
func (t *Trimmer) on(conns *conn.Clients) (*Trimmer, error) {
	bound := *t
	commands, err := conns.Of(t.client)
	if err != nil {
		return nil, err
	}
	bound.client = commands.Client
	bound.config.offsets = slices.Clone(t.config.offsets)
	for i := range bound.config.offsets {
		known := &bound.config.offsets[i]
		if known.store, err = conns.Bind(known.store, t.stream); err != nil {
			return nil, err
		}
	}
	return &bound, nil
}

// trimWatch decides about the log lines of a trimmer.
type trimWatch struct {
	log      *slog.Logger
	patience time.Duration

	// The events since they were last logged, and when that was.
	trimmed                int64
	losses                 []TrimLoss
	loggedTrim, loggedLoss time.Time
	last                   TrimResult

	// Who holds back the others, since when, and when that was logged.
	holder        *Position
	since, warned time.Time
}

func (w *trimWatch) see(result TrimResult, err error, now time.Time) {
	w.trimmed += result.Trimmed
	w.losses = addLosses(w.losses, result.Losses)
	w.last = result
	if len(w.losses) > 0 && now.Sub(w.loggedLoss) >= task.LogInterval {
		w.tellLosses(now)
	}
	if w.trimmed > 0 && now.Sub(w.loggedTrim) >= task.LogInterval {
		w.tellTrimmed(now)
	}
	if err == nil || errors.Is(err, ErrNoPosition) {
		w.watchHolder(result, err, now)
	}
}

func (w *trimWatch) tellLosses(now time.Time) {
	for _, loss := range w.losses {
		w.log.With(ownerAttr(loss.Owner, loss.Label)...).Error("entries lost: trimmed by the hard limit before they were processed",
			"entries", loss.Count, "from", loss.From, "to", loss.To)
	}
	w.losses, w.loggedLoss = nil, now
}

func (w *trimWatch) tellTrimmed(now time.Time) {
	w.log.Info("stream trimmed", "entries", w.trimmed, "remaining", w.last.Remaining, "floor", w.last.Floor)
	w.trimmed, w.loggedTrim = 0, now
}

// watchHolder warns of a position that does not move while there is more behind it.
func (w *trimWatch) watchHolder(result TrimResult, err error, now time.Time) {
	if errors.Is(err, ErrNoPosition) {
		if w.warned.IsZero() || now.Sub(w.warned) >= w.patience {
			w.log.Warn("the stream is not trimmed", "remaining", result.Remaining, "err", err)
			w.warned = now
		}
		w.holder = nil
		return
	}
	if result.Remaining <= 1 || len(result.Positions) == 0 {
		w.holder, w.warned = nil, time.Time{}
		return
	}
	if holder := result.Positions[0]; w.holder == nil || *w.holder != holder {
		w.holder, w.since, w.warned = &holder, now, time.Time{}
		return
	}
	if now.Sub(w.since) < w.patience || !w.warned.IsZero() && now.Sub(w.warned) < w.patience {
		return
	}
	w.warned = now
	w.log.With(ownerAttr(w.holder.Owner, w.holder.Label)...).Warn("trimming is held back: "+w.holder.State.advice(),
		"entry_id", w.holder.ID, "lasts", now.Sub(w.since), "remaining", result.Remaining)
}

func (s PositionState) advice() string {
	switch s {
	case PositionPending:
		return "the entry is pending; see what becomes of it, or destroy the group if nobody needs it"
	case PositionMissing:
		return "there is no offset under the label; see whether it is the right one, and its consumer runs"
	case PositionAhead:
		return "the position is beyond the end of the stream, which is not the one that was read; see where its consumer shall start"
	default:
		return "this is the last entry that was passed; see whether its consumers run, or remove the group or label if nobody needs it"
	}
}

// end logs the rest.
func (w *trimWatch) end() {
	if len(w.losses) > 0 {
		w.tellLosses(time.Time{})
	}
	if w.trimmed > 0 {
		w.tellTrimmed(time.Time{})
	}
}
