package admin

import (
	"fmt"
	"sync"
	"time"
)

// steered is a consumer under the orders that its agent has for it.
type steered struct {
	consumer consumer
	reader   Reader

	mu sync.Mutex // guards the fields below
	// pause is the order that the consumer obeys, zero for none, and until its end by our clock.
	pause Pause
	until time.Time
	// seek is the order to seek that it has obeyed last, or that is at work; atPlace is set while
	// it waits, paused, for the group to be set.
	seek    string
	atWork  bool
	atPlace bool
	failure string
}

// obeyPause has the consumer do as the order says, nil is none, and reports whether that is
// another one than before. The order is by the clock of the server, which is ahead of ours by
// skew.
func (s *steered) obeyPause(order *Pause, skew time.Duration) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case order.active(now.Add(skew)):
		if s.pause == *order {
			return false
		}
		s.pause, s.until = *order, order.Until.Time().Add(-skew)
		if !s.atWork { // else the seek does it at its end
			s.pauseLocked()
		}
	case s.pause != Pause{}:
		s.pause, s.until = Pause{}, time.Time{}
		if !s.atWork {
			s.consumer.Resume()
		}
	default:
		return false
	}
	return true
}

func (s *steered) pauseLocked() {
	// It fails if the end came just now.
	_ = s.consumer.Pause(fmt.Sprintf("by %s: %s", s.pause.By, s.pause.Why), s.until)
}

// begin returns the order to seek if it is a new one that is to be obeyed now, nil otherwise.
func (s *steered) begin(order *SeekOrder) *SeekOrder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if order == nil || order.Op == s.seek || s.atWork || time.Since(order.At.Time()) > seekLasts {
		return nil
	}
	s.seek, s.atWork, s.failure = order.Op, true, ""
	return order
}

// waits notes that the consumer is paused for an order, and waits for the group to be set.
func (s *steered) waits() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.atPlace = true
}

// end notes how an order to seek has ended, and has the consumer go on, or pause as it is told.
func (s *steered) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.atWork, s.atPlace = false, false
	if err != nil {
		s.failure = err.Error()
	}
	s.consumer.Resume()
	if time.Now().Before(s.until) {
		s.pauseLocked()
	}
}

// presence returns the record of the consumer.
func (s *steered) presence() ConsumerPresence {
	id, stats, health := s.consumer.Identity(), s.consumer.Stats(), s.consumer.Health()
	p := ConsumerPresence{
		Stream: id.Stream, Group: id.Group, Label: id.Label, Consumer: id.Consumer,
		Live: health.Live, Ready: health.Ready, Reason: health.Reason,
		Position: stats.Position, Settled: stats.Settled, Working: stats.Working, Held: stats.Held, Window: stats.Window,
		Handled: stats.Handled, Failed: stats.Failed, Skipped: stats.Skipped, DeadLettered: stats.DeadLettered, Lost: stats.Lost,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.until) && !stats.PausedUntil.IsZero() {
		p.PausedUntil = s.pause.Until
	}
	switch {
	case s.atPlace:
		p.Awaits = s.seek
	case !s.atWork:
		p.Seek, p.SeekError = s.seek, s.failure
	}
	return p
}
