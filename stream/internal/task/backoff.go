package task

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before something is tried again: Min at first, twice as
// long each further time, never more than Max. Of each wait a random part of up to a half
// is left out, so that many goroutines that failed together do not try again together.
type Backoff struct {
	Min, Max time.Duration
}

// Recovery is how long to wait before a server or a store is tried again. Its Max is what a
// consumer can add to an outage.
var Recovery = Backoff{Min: 50 * time.Millisecond, Max: 500 * time.Millisecond}

// Delay returns how long to wait after the given number of failures in a row; less than 1
// counts as 1, and a Max below Min as Min.
func (b Backoff) Delay(failures int64) time.Duration {
	delay := max(b.Min, 1)
	for ; failures > 1 && delay < b.Max; failures-- {
		delay *= 2
		if delay <= 0 { // overflow
			delay = b.Max
		}
	}
	delay = max(min(delay, b.Max), b.Min)
	return delay - rand.N(delay/2+1)
}
