package telemetry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"millrace/stream"
)

// LagConfig says how often Redis is asked for the lag.
type LagConfig struct {
	// Every is the time between two questions, and how old a lag can be that is told, twice.
	// Default: 15 seconds.
	Every time.Duration
	// Never says that Redis is not asked.
	Never bool
}

// Check fills in the default, and returns the problems of the config, each of which wraps
// stream.ErrInvalidOption.
func (c *LagConfig) Check() error {
	if c.Every < 0 {
		return fmt.Errorf("%w: LagEvery is %v; give a positive time, none for 15 seconds, or set NoLag", stream.ErrInvalidOption, c.Every)
	}
	if c.Every == 0 {
		c.Every = 15 * time.Second
	}
	return nil
}

const (
	// lagWait is how long a collection waits for lags. Prometheus gives up after ten seconds.
	lagWait = time.Second
	// lagTimeout is for one query, and lagsAtOnce how many there are at a time.
	lagTimeout = 5 * time.Second
	lagsAtOnce = 8
)

type lagging interface {
	Lag(ctx context.Context) (stream.Lag, error)
}

// lags has the lags that Redis told last. Collections do not wait for a Redis that is away: the
// queries go on without them, and a lag that is too old is not told.
type lags struct {
	config LagConfig

	mu    sync.Mutex
	begun time.Time     // of the last queries
	done  chan struct{} // closed when they have ended; nil before the first
	found map[Key]foundLag
}

type foundLag struct {
	stream.Lag
	at time.Time
}

// of returns the lags that are known of the keys.
func (l *lags) of(ctx context.Context, totals map[Key]*total) map[Key]stream.Lag {
	if l.config.Never {
		return nil
	}
	wait := time.NewTimer(lagWait)
	defer wait.Stop()
	select {
	case <-l.refresh(ctx, totals):
	case <-ctx.Done():
	case <-wait.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known := make(map[Key]stream.Lag)
	for key, lag := range l.found {
		if totals[key] != nil && time.Since(lag.at) <= 2*l.config.Every {
			known[key] = lag.Lag
		}
	}
	return known
}

// refresh begins the queries if they are due, and returns the end of those at work.
func (l *lags) refresh(ctx context.Context, totals map[Key]*total) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done != nil {
		select {
		case <-l.done:
		default:
			return l.done
		}
		if time.Since(l.begun) < l.config.Every {
			return l.done
		}
	}
	l.begun, l.done = time.Now(), make(chan struct{})
	wanted := make(map[Key]lagging)
	for key, total := range totals {
		if total.lagging != nil {
			wanted[key] = total.lagging
		}
	}
	go l.ask(context.WithoutCancel(ctx), wanted, l.done)
	return l.done
}

// ask asks for all lags, and forgets those of keys that are not wanted any more.
func (l *lags) ask(ctx context.Context, wanted map[Key]lagging, done chan<- struct{}) {
	defer close(done)
	l.mu.Lock()
	for key := range l.found {
		if wanted[key] == nil {
			delete(l.found, key)
		}
	}
	l.mu.Unlock()
	places := make(chan struct{}, lagsAtOnce)
	var queries sync.WaitGroup
	for key, one := range wanted {
		places <- struct{}{}
		queries.Go(func() {
			defer func() { <-places }()
			lag, err := lagOf(ctx, one)
			l.mu.Lock()
			defer l.mu.Unlock()
			if err != nil {
				delete(l.found, key)
				return
			}
			l.found[key] = foundLag{Lag: lag, at: time.Now()}
		})
	}
	queries.Wait()
}

func lagOf(ctx context.Context, one lagging) (lag stream.Lag, err error) {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	defer func() {
		if recover() != nil { // in the code of the user
			err = errors.New("the query panicked")
		}
	}()
	return one.Lag(ctx)
}
