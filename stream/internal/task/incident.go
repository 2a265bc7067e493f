package task

import "time"

// Incident is something that fails again and again. It is logged when it begins, every half
// minute while it lasts, and when it is over: an outage must be seen, and must not fill a
// disk. It is also logged when it turns out that people have to do something, which need not
// show at once: what comes first is often a broken connection. It has no lock.
type Incident struct {
	Failures      int64
	Since, Logged time.Time
	advice        string // that was logged last
}

// LogInterval is how often one that lasts is logged.
const LogInterval = 30 * time.Second

// Note counts a failure, and reports whether it is to be logged now. advice is for people
// who have to do something, "" for nothing.
func (i *Incident) Note(now time.Time, advice string) bool {
	if i.Failures == 0 {
		i.Since = now
	}
	i.Failures++
	if !i.IsDue(now) && (advice == "" || advice == i.advice) {
		return false
	}
	i.Logged, i.advice = now, advice
	return true
}

// IsDue reports whether it may be logged again.
func (i *Incident) IsDue(now time.Time) bool {
	return i.Logged.IsZero() || now.Sub(i.Logged) >= LogInterval
}

// Outage is told of one thing that fails and is tried again: of each failure, of the time when
// it works, and when it is not tried any more. It is used by one goroutine at a time.
type Outage interface {
	GoesOn(err error)
	Ends()
	Abandon()
}
