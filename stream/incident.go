package stream

import (
	"log/slog"
	"time"
)

// incident is something that fails again and again. It is logged when it
// begins, every half minute while it lasts, and when it is over: an outage
// must be seen, and must not fill a disk. It is also logged when it turns out that
// people have to do something, which need not show at once: what comes first is
// often a broken connection.
type incident struct {
	failures      int64
	since, logged time.Time
	advice        string // that was logged last
}

const incidentLogInterval = 30 * time.Second

func (i *incident) add(log *slog.Logger, what string, err error) {
	if now := time.Now(); i.note(now, classify(err).Advice) {
		log.Warn(what+" failed; trying again until it works", "err", err, "failures", i.failures, "lasts", now.Sub(i.since))
	}
}

// note counts a failure, and reports whether it is to be logged now.
func (i *incident) note(now time.Time, advice string) bool {
	if i.failures == 0 {
		i.since = now
	}
	i.failures++
	if !i.isDue(now) && (advice == "" || advice == i.advice) {
		return false
	}
	i.logged, i.advice = now, advice
	return true
}

func (i *incident) isDue(now time.Time) bool {
	return i.logged.IsZero() || now.Sub(i.logged) >= incidentLogInterval
}

func (i *incident) over(log *slog.Logger, what string) {
	log.Info(what+" works again", "failures", i.failures, "lasted", time.Since(i.since))
}
