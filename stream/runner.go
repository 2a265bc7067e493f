package stream

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// Runnable is what a [Runner] runs: a consumer of any type, another Runner, or
// something of your own, such as an HTTP server for health checks. Run blocks
// until ctx is done, and then returns promptly.
type Runnable interface {
	Run(ctx context.Context) error
}

// Runner runs the consumers of many topics in one process, and stops them
// together. The zero value is ready. It may be used from several goroutines;
// one Run is allowed at a time. It must not be copied.
//
// The consumers of a Runner, and those of Runners that it runs, share connections:
// a few for each client, instead of one for each consumer. It takes the Redis rights
//
//	+client|id +client|unblock
//
// to add a topic to a read that waits; without them, in log mode, the connection is
// made anew each time. In group mode it takes +xlen, and +eval, +evalsha, +xpending and
// +xinfo on all topics of the group at once, which a user who has them on each topic has;
// without them each consumer looks for itself.
type Runner struct {
	mu    sync.Mutex
	added []Runnable
	// join makes one more take part in the Run at work; nil while there is none.
	join func(Runnable, error)
}

// Add adds consumers, and whatever else is to be run with them. What is added
// while Run is at work is started at once; what is added after Run has returned
// takes part in the next.
//
// Nil, and a pointer that was added before, are mistakes, which [Runner.Run]
// reports: at its start, or by stopping if it is at work already.
func (r *Runner) Add(runnables ...Runnable) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, added := range runnables {
		r.added = append(r.added, added)
		if r.join != nil {
			r.join(added, r.problem(len(r.added)-1))
		}
	}
}

// Run starts everything that was added, and returns when all of it has stopped:
// after ctx is done, or after the first that failed, whose failure cancels the
// context of the others. One that returns nil early has simply finished, and
// the others go on; when all have finished, Run returns nil.
//
// The error joins those of all that failed, the first one first, each with the
// name of what failed: its String method's, which is topic and label for a
// [Consumer], or else its type. A panic is a failure, a [*PanicError] whose stack
// is part of the text, because there is nobody else to log it. After a clean
// stop the error is nil; whoever returns just ctx.Err() has stopped cleanly.
//
// A Runner that has stopped may be run again, with all that was added. Nothing
// is started, and the error wraps [ErrInvalidOption], if nothing was added or
// something by mistake; and [ErrRunning] comes back while another Run of this
// Runner is at work.
func (r *Runner) Run(ctx context.Context) error {
	if ctx == nil {
		return errors.New("stream: Run was given no context; pass the one whose end is to stop the Runner")
	}
	ctx, endSharing := withSharing(ctx)
	defer endSharing()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	results := make(chan error)
	working := 0 // guarded by r.mu, like all that join does
	join := func(added Runnable, problem error) {
		working++
		go func() {
			err, returned := problem, problem != nil
			defer func() {
				if !returned { // runtime.Goexit ends a goroutine without a word
					err = fmt.Errorf("%s: ended its goroutine instead of returning", nameOf(added))
				}
				results <- err
			}()
			if !returned {
				err, returned = runOne(ctx, added), true
			}
		}()
	}
	if err := r.begin(join); err != nil {
		return err
	}
	var failures []error
	for {
		if err := <-results; err != nil {
			failures = append(failures, err)
			cancel()
		}
		r.mu.Lock()
		working--
		if working == 0 {
			// Under the same lock as the count: what is added from now on is for
			// the next Run.
			r.join = nil
			r.mu.Unlock()
			return errors.Join(failures...)
		}
		r.mu.Unlock()
	}
}

// begin starts everything, or nothing if something is wrong.
func (r *Runner) begin(join func(Runnable, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.join != nil {
		return ErrRunning
	}
	if len(r.added) == 0 {
		return invalid("Runner.Run: there is nothing to run; Add consumers first")
	}
	var problems []error
	for i := range r.added {
		problems = append(problems, r.problem(i))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	r.join = join
	for _, added := range r.added {
		join(added, nil)
	}
	return nil
}

// problem says what is wrong with having added number i. Only pointers can be
// told from one another, and of those not the ones to nothing, which Go may
// make equal.
func (r *Runner) problem(i int) error {
	added := r.added[i]
	if isNil(added) {
		return invalid("Runner.Add: number %d is nil; add what a constructor returned, after a look at its error", i+1)
	}
	if of := reflect.TypeOf(added); of.Kind() != reflect.Pointer || of.Elem().Size() == 0 {
		return nil
	}
	for j, before := range r.added[:i] {
		if before == added {
			return invalid("Runner.Add: number %d, %s, is number %d too; was another one meant?", i+1, nameOf(added), j+1)
		}
	}
	return nil
}

// runOne runs one of many; a panic in it must neither end the process, which
// would leave the others no time to settle, nor stay unknown to them.
func runOne(ctx context.Context, runnable Runnable) (err error) {
	defer func() {
		if value := recover(); value != nil {
			panicked := newPanicError(value)
			err = fmt.Errorf("%s: %w\n%s", nameOf(runnable), panicked, panicked.Stack)
		}
	}()
	err = runnable.Run(ctx)
	// Exactly this one: an error that wraps it may say that something was not
	// finished because the time was up.
	if err == nil || err == ctx.Err() { //nolint:errorlint // see above
		return nil
	}
	return fmt.Errorf("%s: %w", nameOf(runnable), err)
}

// nameOf returns what a runnable calls itself, or else its type.
func nameOf(runnable Runnable) string {
	if named, ok := runnable.(fmt.Stringer); ok {
		name := ""
		_ = elsewhere(func() error {
			name = textOf(named)
			return nil
		})
		if !isBlank(name) {
			return name
		}
	}
	return fmt.Sprintf("%T", runnable)
}
