package streamsql

import (
	"context"
	"log/slog"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/task"
)

// trouble is something that fails and is tried again, with its log lines.
type trouble struct {
	task.Incident
	log *slog.Logger
}

// pause notes the result of a try, and waits until the next: for the interval after a success, and
// for less after a failure. It reports whether ctx is not done.
func (t *trouble) pause(ctx context.Context, doing string, err error, interval time.Duration) bool {
	t.note(doing, err)
	if err != nil {
		interval = min(interval, task.Recovery.Delay(t.Failures))
	}
	return task.Sleep(ctx, interval)
}

// note notes the result of a try, and logs it now and then.
func (t *trouble) note(doing string, err error) {
	now := time.Now()
	switch {
	case err != nil:
		if t.Note(now, conn.Classify(err).Advice) {
			t.log.Warn(doing+" failed; trying again until it works", "err", conn.Explain(err), "failures", t.Failures, "lasts", now.Sub(t.Since))
		}
	case t.Failures > 0:
		t.log.Info(doing+" works again", "failures", t.Failures, "lasted", now.Sub(t.Since))
		t.Incident = task.Incident{}
	}
}
