package stream

import (
	"log/slog"
	"time"

	"millrace/stream/internal/task"
)

// rival is another consumer that works under the identity of this one, its name in the
// group or its label, so that entries are handled twice. The lock of the meter guards it.
type rival struct {
	text   string
	until  time.Time // Health tells of it for as long
	logged time.Time
}

// noteRival tells that there is a rival: in the log now and then, and in Health for the
// given time.
func (e *engine) noteRival(log *slog.Logger, text string, lasts time.Duration) {
	now, logs := time.Now(), false
	e.meter.update(func(m *meter) {
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
