package stream

import (
	"fmt"
	"time"

	"millrace/stream/internal/task"
)

// Backoff says how long to wait before something is tried again: Min at first,
// twice as long each further time, never more than Max. Of each wait a random
// part of up to a half is left out, so that many consumers that failed
// together do not try again together. (The "equal jitter" of Brooker,
// "Exponential Backoff And Jitter", 2015.)
//
// A zero field means that field's default, which is said where a Backoff is
// taken.
type Backoff struct {
	Min, Max time.Duration
}

// Delay returns how long to wait after the given number of failures in a row;
// less than 1 counts as 1, and a Max below Min as Min. It is safe for concurrent
// use.
func (b Backoff) Delay(failures int64) time.Duration { return task.Backoff(b).Delay(failures) }

// Or returns b with the zero and negative fields taken from defaults.
func (b Backoff) Or(defaults Backoff) Backoff {
	if b.Min <= 0 {
		b.Min = defaults.Min
	}
	if b.Max <= 0 {
		b.Max = defaults.Max
	}
	b.Max = max(b.Min, b.Max)
	return b
}

func (b Backoff) String() string { return fmt.Sprintf("%v to %v", b.Min, b.Max) }
