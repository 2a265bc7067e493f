package stream

import (
	"log/slog"
	"time"

	"millrace/stream/internal/task"
)

// incident is one with its log lines.
type incident struct{ task.Incident }

func (i *incident) add(log *slog.Logger, what string, err error) {
	if now := time.Now(); i.Note(now, classify(err).Advice) {
		log.Warn(what+" failed; trying again until it works", "err", err, "failures", i.Failures, "lasts", now.Sub(i.Since))
	}
}

func (i *incident) over(log *slog.Logger, what string) {
	log.Info(what+" works again", "failures", i.Failures, "lasted", time.Since(i.Since))
}
