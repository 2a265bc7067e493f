package stream

import (
	"testing"
	"time"
)

// A read that does not come back shows when it is late by more than the patience, and
// not while there is none.
func TestSilence(t *testing.T) {
	t.Parallel()
	e, begun := &engine{}, time.Now()
	e.config.block = 2 * time.Second
	for name, test := range map[string]struct {
		reading, lastRead time.Duration // after the beginning
		silent            time.Duration
	}{
		"no read has come back": {reading: 0, lastRead: -time.Hour, silent: 5 * time.Second},
		"one has":               {reading: 0, lastRead: 2 * time.Second},
		"the last one is late":  {reading: 0, lastRead: 500 * time.Millisecond, silent: 4500 * time.Millisecond},
		"it has just begun":     {reading: 4 * time.Second, lastRead: -time.Hour},
	} {
		m := &meter{reading: begun.Add(test.reading), lastRead: begun.Add(test.lastRead)}
		if got := m.silence(e, begun.Add(5*time.Second)); got != test.silent {
			t.Errorf("%s: silent for %v, want %v", name, got, test.silent)
		}
	}
	if got := (&meter{}).silence(e, begun.Add(time.Hour)); got != 0 {
		t.Errorf("nothing is read, and that is silent for %v", got)
	}
}
