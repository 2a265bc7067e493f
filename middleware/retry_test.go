package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/middleware"
	"millrace/stream"
)

var errBroken = errors.New("broken")

func repeated(err error, times int) []error { return slices.Repeat([]error{err}, times) }

func TestRetryUntilSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		next, calls := failing(repeated(errBroken, 4)...)
		begun := time.Now()
		err := middleware.Retry(middleware.RetryConfig{
			Attempts: 5, Backoff: stream.Backoff{Min: time.Second, Max: 4 * time.Second},
		})(next)(t.Context(), entry())
		if err != nil || *calls != 5 {
			t.Errorf("got %v after %d attempts, want success after 5", err, *calls)
		}
		// 1s, 2s, 4s and 4s, and of each at least a half.
		if took := time.Since(begun); took < 5500*time.Millisecond || took > 11*time.Second {
			t.Errorf("waited %v in all", took)
		}
	})
}

func TestRetryGivesUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		config middleware.RetryConfig
		want   int
	}{
		{"after the default number of attempts", middleware.RetryConfig{}, 3},
		{"negative numbers are the defaults", middleware.RetryConfig{Attempts: -1, MaxElapsed: -1, Backoff: stream.Backoff{Min: -1, Max: -1}}, 3},
		{"after as many as configured", middleware.RetryConfig{Attempts: 7}, 7},
		{"a single one", middleware.RetryConfig{Attempts: 1}, 1},
		// At least 0.5s, 1s, 2s, 4s are waited, at most 1s, 2s, 4s, 8s.
		{"when the time is up", middleware.RetryConfig{Attempts: 100, MaxElapsed: 1500 * time.Millisecond, Backoff: stream.Backoff{Min: time.Second, Max: time.Minute}}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next, calls := failing(repeated(errBroken, 1000)...)
				begun := time.Now()
				err := middleware.Retry(test.config)(next)(t.Context(), entry())
				var gaveUp *middleware.RetryError
				if !errors.As(err, &gaveUp) || !errors.Is(err, errBroken) || gaveUp.Attempts != *calls {
					t.Fatalf("got %v after %d attempts, want a RetryError that counts and wraps", err, *calls)
				}
				if test.config.MaxElapsed > 0 {
					if took := time.Since(begun); took > test.config.MaxElapsed || *calls < test.want || *calls > test.want+1 {
						t.Errorf("%d attempts in %v", *calls, took)
					}
				} else if *calls != test.want {
					t.Errorf("%d attempts, want %d", *calls, test.want)
				}
			})
		})
	}
}

func TestRetryReturnsAtOnceWhatIsNotWorthIt(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{
		&stream.DecodeError{Err: errBroken},
		stream.Skip("no concern"),
		stream.Permanent(errBroken),
		fmt.Errorf("wrapped: %w", stream.Permanent(errBroken)),
		&stream.DeadLetterError{Err: errBroken},
	} {
		next, calls := failing(failure)
		if err := middleware.Retry(middleware.RetryConfig{})(next)(t.Context(), entry()); !errors.Is(err, failure) || *calls != 1 {
			t.Errorf("%v: got %v after %d attempts", failure, err, *calls)
		}
	}
}

func TestRetryIf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		other := errors.New("other")
		retry := middleware.Retry(middleware.RetryConfig{Attempts: 5, If: func(err error) bool { return errors.Is(err, errBroken) }})
		next, calls := failing(errBroken, errBroken, other)
		err := retry(next)(t.Context(), entry())
		var gaveUp *middleware.RetryError
		if !errors.Is(err, other) || errors.As(err, &gaveUp) || *calls != 3 {
			t.Errorf("got %v after %d attempts, want the declined error as it is after 3", err, *calls)
		}
	})
}

func TestRetryStopsOnCancel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		next, calls := failing(repeated(errBroken, 1000)...)
		done := make(chan error, 1)
		go func() {
			done <- middleware.Retry(middleware.RetryConfig{Attempts: 1000, Backoff: stream.Backoff{Min: time.Hour, Max: time.Hour}})(next)(ctx, entry())
		}()
		synctest.Wait()
		begun := time.Now()
		cancel()
		err := <-done
		var gaveUp *middleware.RetryError
		if time.Since(begun) != 0 || *calls != 1 || !errors.Is(err, context.Canceled) || !errors.Is(err, errBroken) || errors.As(err, &gaveUp) {
			t.Errorf("got %v after %v and %d attempts", err, time.Since(begun), *calls)
		}
		if err := middleware.Retry(middleware.RetryConfig{})(next)(ctx, entry()); !errors.Is(err, errBroken) || *calls != 2 {
			t.Errorf("under a cancelled context: got %v, %d attempts", err, *calls)
		}
	})
}
