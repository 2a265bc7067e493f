package task

import "time"

// origin is the zero of the stopwatches: time.Since costs half as much as time.Now.
var origin = time.Now()

// Stopwatch measures one piece of work after another, such as the deliveries of a worker. The
// reading at the end of one is the begin of the next, if the worker has not waited in between: a
// reading of a clock takes as long as all else that a delivery costs a middleware. It belongs to
// one goroutine at a time. The zero value is ready.
type Stopwatch struct {
	// begun is the begin of the work, and last the latest reading that may be the begin of the
	// next; 0 is none.
	begun, last time.Duration
	// asked is set once anybody has asked for a time: from then on each begin is known.
	asked bool
}

// Waited says that the worker has waited, or done other things: the next piece of work begins now.
func (s *Stopwatch) Waited() { s.last = time.Since(origin) }

// Begin begins the next piece of work.
func (s *Stopwatch) Begin() {
	if s.last == 0 && s.asked {
		s.last = time.Since(origin)
	}
	if s.last != 0 { // else nobody has asked since the worker waited
		s.begun, s.last = s.last, 0
	}
}

// Begun returns when the work began.
func (s *Stopwatch) Begun() time.Time {
	s.asked = true
	return origin.Add(s.begun)
}

// Elapsed returns the time since the work began.
func (s *Stopwatch) Elapsed() time.Duration {
	s.asked = true
	s.last = time.Since(origin)
	return s.last - s.begun
}
