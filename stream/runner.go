package stream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/task"
)

// Runnable is a member of a [Runner]: a consumer of any type, another Runner, or something of
// your own, such as an HTTP server for health checks. Run blocks until ctx is done, and then
// returns promptly. With [KeepOthers] it is called again after it has failed; an error that
// [Permanent] marks says that this is of no use.
type Runnable interface {
	Run(ctx context.Context) error
}

// FailurePolicy decides about the other members of a [Runner] when one has failed.
type FailurePolicy int

const (
	// KeepOthers lets the others go on, and runs the failed one again, after a wait that
	// grows from a second to half a minute: people can mend a key of the wrong type or a
	// missing right while the process runs. A member is not run again if its error is
	// final: it wraps [ErrInvalidOption], is marked as [Permanent], comes from a loss policy
	// that says stop ([LossError]), or is about a hook of the client that changes keys.
	KeepOthers FailurePolicy = iota
	// StopAll stops all others.
	StopAll
)

// Runner runs the consumers of many topics in one process, and stops them
// together. The zero value is ready. It may be used from several goroutines;
// one Run is allowed at a time. It must not be copied, and its fields must not be
// changed while it runs.
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
	// OnFailure is the policy when a member fails. Default: KeepOthers.
	OnFailure FailurePolicy
	// Logger is for the failures of members. Default: slog.Default().
	Logger *slog.Logger

	mu      sync.Mutex
	members []*runnerMember
	// leaving are members that were removed and have not stopped.
	leaving []*runnerMember
	// join makes one more take part in the Run at work; nil while there is none.
	join func(m *runnerMember, mistake error)
}

// runnerMember is one that was added to a Runner.
type runnerMember struct {
	runnable Runnable // it never changes
	memberState
}

// memberState is the state of a member in a Run. It is guarded by the Runner's lock, but
// for mistake, done and before, which are set before the member's goroutine starts.
type memberState struct {
	// mistake is the error of adding it to a Run at work, nil if there is none.
	mistake error

	// end ends the context of the member, nil while no Run is at work; done is closed when
	// the member has stopped.
	end  context.CancelFunc
	done chan struct{}
	// before is closed when the same Runnable, removed and added again, has stopped; nil
	// is at once.
	before  <-chan struct{}
	removed bool

	// failure is the last one, nil once the member works again, and failures how many
	// there were in a row. due is when the member runs again, zero while it runs, or if
	// it is given up.
	failure  *failure
	failures int64
	due      time.Time
	givenUp  bool
	recovery *time.Timer // tells that it works again; nil is none
}

// failure is how a member has failed.
type failure struct {
	err   error // with the member's name
	cause string
	stack []byte // of a panic
	final bool
}

// restart is the wait of a member that has failed. A member that has run for the time
// restored counts as one that works again.
var restart = Backoff{Min: time.Second, Max: 30 * time.Second}

const restored = 30 * time.Second

// Add adds members: consumers, and anything else that is to be run with them. A member that is
// added while Run is at work is started at once; one that is added after Run has returned takes
// part in the next.
//
// Nil, and a pointer that was added before, are mistakes: of those that are there at
// its start [Runner.Run] returns the error, and starts nothing; later they are
// failures, as if they had been run.
func (r *Runner) Add(runnables ...Runnable) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, added := range runnables {
		m := &runnerMember{runnable: added}
		r.members = append(r.members, m)
		if r.join != nil {
			r.join(m, r.mistakeLocked(len(r.members)-1))
		}
	}
}

// Remove takes a member out, so that it takes part in no further Run, and reports
// whether it was there. If it is running, it is stopped as at the end of Run, while the
// others go on. Remove does not wait for that, so that a handler can remove its own
// consumer; [Runner.Run] does not return before the member has stopped. A removed one may
// be added again at once. When the last is removed, Run returns.
//
// Only pointers can be removed: other values cannot be told from one another.
func (r *Runner) Remove(one Runnable) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := false
	r.members = slices.DeleteFunc(r.members, func(m *runnerMember) bool {
		if !isSame(m.runnable, one) {
			return false
		}
		found, m.removed = true, true
		if m.end != nil {
			m.end()
			r.leaving = append(r.leaving, m)
		}
		return true
	})
	return found
}

// Consumers returns all that were added and not removed, in the order of adding, also
// those that have failed or finished.
func (r *Runner) Consumers() []Runnable {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Runnable, 0, len(r.members))
	for _, m := range r.members {
		list = append(list, m.runnable)
	}
	return list
}

// Members returns all that [Runner.Consumers] does. A member that has a method Members like this
// one, such as another Runner or a type of your own around a consumer, has its members in its
// place. It is a list of the moment at which it is called, and each one is in it once.
func (r *Runner) Members() iter.Seq[Runnable] {
	var list []Runnable
	seen := make(map[Runnable]bool)
	var collect func(all []Runnable)
	collect = func(all []Runnable) {
		for _, member := range all {
			if member == nil {
				continue
			}
			if reflect.ValueOf(member).Comparable() { // or it cannot be told from others
				if seen[member] {
					continue
				}
				seen[member] = true
			}
			switch member := member.(type) {
			case *Runner:
				if member != nil {
					collect(member.Consumers())
				}
			case interface{ Members() iter.Seq[Runnable] }:
				collect(slices.Collect(member.Members()))
			default:
				list = append(list, member)
			}
		}
	}
	collect([]Runnable{r})
	return slices.Values(list)
}

// Run starts everything that was added, and returns when all of it has stopped:
// after ctx is done, or when each one has finished by returning nil, was removed, or has
// failed for good. [Runner.OnFailure] decides about the others when one fails; the failure
// is logged at once, and [Runner.Health] is not ready.
//
// The error joins those of all that failed, in the order in which they ended, each with
// the name of the member: that of its String method, which is topic and label for a
// [Consumer], or else its type. Of each member it has the last error, unless the member
// was run again and has worked for half a minute since, has finished, or was removed. A
// panic is a failure, a [*PanicError] whose stack is part of the text. After a clean stop
// the error is nil; a member that returns just ctx.Err() has stopped cleanly.
//
// A Runner that has stopped may be run again, with all that was added. Nothing
// is started, and the error wraps [ErrInvalidOption], if nothing was added or
// something by mistake; and [ErrRunning] comes back while another Run of this
// Runner is at work.
func (r *Runner) Run(ctx context.Context) error {
	if ctx == nil {
		return errors.New("stream: Run was given no context; pass the one whose end is to stop the Runner")
	}
	ctx, endSharing := feed.WithSharing(ctx)
	defer endSharing()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	over := make(chan *runnerMember)
	working := 0 // guarded by r.mu, like all that join does
	join := func(m *runnerMember, mistake error) {
		working++
		r.prepareLocked(m, mistake)
		var own context.Context
		own, m.end = context.WithCancel(ctx)
		go r.keep(own, m, over)
	}
	if err := r.begin(join); err != nil {
		return err
	}
	var failures []error
	for {
		m := <-over
		r.mu.Lock()
		if m.failure != nil {
			failures = append(failures, m.failure.err)
			if r.OnFailure == StopAll {
				cancel()
			}
		}
		r.leaving = slices.DeleteFunc(r.leaving, func(other *runnerMember) bool { return other == m })
		m.end()
		m.end = nil
		close(m.done)
		working--
		if working == 0 {
			// Under the same lock as the count: a member that is added from now on is for the
			// next Run.
			r.join = nil
			r.mu.Unlock()
			return errors.Join(failures...)
		}
		r.mu.Unlock()
	}
}

// begin starts everything, or nothing if something is wrong.
func (r *Runner) begin(join func(*runnerMember, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.join != nil {
		return ErrRunning
	}
	if len(r.members) == 0 {
		return invalid("Runner.Run: there is nothing to run; Add consumers first")
	}
	var problems []error
	if r.OnFailure != KeepOthers && r.OnFailure != StopAll {
		problems = append(problems, invalid("Runner.OnFailure: %d is none of the policies; take KeepOthers or StopAll", r.OnFailure))
	}
	for i := range r.members {
		problems = append(problems, r.mistakeLocked(i))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	r.join = join
	for _, m := range r.members {
		join(m, nil)
	}
	return nil
}

// prepareLocked makes a member ready for a Run.
func (r *Runner) prepareLocked(m *runnerMember, mistake error) {
	m.memberState = memberState{mistake: mistake, done: make(chan struct{})}
	for _, other := range r.leaving {
		if isSame(other.runnable, m.runnable) {
			m.before = other.done
		}
	}
}

// mistakeLocked returns the error of having added number i, nil if there is none.
func (r *Runner) mistakeLocked(i int) error {
	added := r.members[i].runnable
	if contain.IsNil(added) {
		return invalid("Runner.Add: number %d is nil; add what a constructor returned, after a look at its error", i+1)
	}
	for j, before := range r.members[:i] {
		if isSame(before.runnable, added) {
			return invalid("Runner.Add: number %d, %s, is number %d too; was another one meant?", i+1, nameOf(added), j+1)
		}
	}
	return nil
}

// isSame reports whether two are one pointer, or both are nil. Only pointers can be told
// from one another, and of those not the ones to nothing, which Go may make equal.
func isSame(a, b Runnable) bool {
	if contain.IsNil(a) || contain.IsNil(b) {
		return contain.IsNil(a) && contain.IsNil(b)
	}
	of := reflect.TypeOf(a)
	return of.Kind() == reflect.Pointer && of.Elem().Size() > 0 && a == b
}

// keep runs a member, again after each failure that may pass, and gives it to over when
// there is no more to run.
func (r *Runner) keep(ctx context.Context, m *runnerMember, over chan<- *runnerMember) {
	returned := false
	defer func() {
		if returned {
			return
		}
		// runtime.Goexit ends a goroutine without a word.
		if r.ended(ctx, m, failureOf(m.runnable, errRunGoexit)) {
			go r.keep(ctx, m, over)
		} else {
			over <- m
		}
	}()
	for again := true; again && r.await(ctx, m); {
		again = r.ended(ctx, m, runOne(ctx, m))
	}
	returned = true
	over <- m
}

// errRunGoexit is the failure of a Runnable that ended its goroutine.
var errRunGoexit = errors.New("ended its goroutine (runtime.Goexit) instead of returning")

// await waits until a member may run, and reports false if it is not to run any more.
func (r *Runner) await(ctx context.Context, m *runnerMember) bool {
	if m.before != nil {
		<-m.before
	}
	r.mu.Lock()
	due, failed := m.due, m.failure != nil
	r.mu.Unlock()
	if !failed {
		return true // at the first time even if ctx is done: it shall know
	}
	if !task.Sleep(ctx, time.Until(due)) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if m.removed {
			m.failure = nil
		}
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.due = time.Time{}
	m.recovery = time.AfterFunc(restored, func() { r.restore(m) })
	return true
}

// restore notes that a member works again.
func (r *Runner) restore(m *runnerMember) {
	r.mu.Lock()
	works := m.recovery != nil // or it has ended just now
	failures := m.failures
	if works {
		m.recovery, m.failure, m.failures = nil, nil, 0
	}
	r.mu.Unlock()
	if works {
		r.log().Info(nameOf(m.runnable)+" works again", "failures", failures)
	}
}

// ended notes how a member has ended, and reports whether it is to run again.
func (r *Runner) ended(ctx context.Context, m *runnerMember, failed *failure) (again bool) {
	r.mu.Lock()
	if m.recovery != nil {
		m.recovery.Stop()
		m.recovery = nil
	}
	switch stopped := ctx.Err() != nil; {
	case failed == nil:
		if !stopped || m.removed {
			m.failure = nil
		}
		r.mu.Unlock()
		return false
	case stopped:
		m.failure = failed
		removed := m.removed
		r.mu.Unlock()
		if removed {
			r.log().Error(nameOf(m.runnable)+" failed when it was removed", "err", failed.cause)
		}
		return false
	}
	m.failure = failed
	m.failures++
	again = r.OnFailure == KeepOthers && !failed.final
	delay := restart.Delay(m.failures)
	m.due, m.givenUp = time.Now().Add(delay), !again
	failures := m.failures
	r.mu.Unlock()

	log := r.log().With("err", failed.cause, "failures", failures)
	if failed.stack != nil {
		log = log.With("stack", string(failed.stack))
	}
	switch name := nameOf(m.runnable); {
	case again:
		log.Error(name+" failed; it is run again, and the others go on", "again_in", delay)
	case r.OnFailure == StopAll:
		log.Error(name + " failed; all others are stopped")
	default:
		log.Error(name + " failed for good; the others go on")
	}
	return again
}

func (r *Runner) log() *slog.Logger {
	if r.Logger != nil {
		return outlasting(r.Logger)
	}
	return outlasting(slog.Default())
}

// runOne runs a member once; a panic in it must neither end the process, which
// would leave the others no time to settle, nor stay unknown to them.
func runOne(ctx context.Context, m *runnerMember) (failed *failure) {
	defer func() {
		if value := recover(); value != nil {
			panicked := newPanicError(value)
			failed = failureOf(m.runnable, panicked)
			failed.stack = panicked.Stack
			failed.err = fmt.Errorf("%w\n%s", failed.err, panicked.Stack)
		}
	}()
	if m.mistake != nil {
		return failureOf(m.runnable, m.mistake)
	}
	err := m.runnable.Run(ctx)
	// Exactly this one: an error that wraps it may say that something was not
	// finished because the time was up.
	if err == nil || err == ctx.Err() { //nolint:errorlint // see above
		return nil
	}
	return failureOf(m.runnable, err)
}

// failureOf returns the failure that an error is.
func failureOf(runnable Runnable, err error) *failure {
	err = contain.Harmless(err)
	_, lost := contain.As[*LossError](err)
	_, permanent := contain.As[*PermanentError](err)
	_, hook := contain.As[*conn.HookError](err)
	return &failure{
		err:   fmt.Errorf("%s: %w", nameOf(runnable), err),
		cause: err.Error(),
		final: lost || permanent || hook || contain.IsErr(err, ErrInvalidOption),
	}
}

// healthLocked returns the health of a member that waits to be run again, or is given up, and
// false for any other. A process that is started anew would meet the same failure: the
// member counts as live.
func (r *Runner) healthLocked(m *runnerMember, now time.Time) (h Health, failing bool) {
	switch {
	case m.failure == nil || r.join == nil:
		return Health{}, false
	case m.givenUp:
		return Health{Live: true, Reason: "has failed for good: " + m.failure.cause}, true
	case !m.due.IsZero():
		return Health{Live: true, Reason: fmt.Sprintf("has failed, and is run again in %v: %s", max(0, m.due.Sub(now)).Round(time.Second), m.failure.cause)}, true
	}
	return Health{}, false
}

// nameOf returns the name that a runnable gives itself, or else its type.
func nameOf(runnable Runnable) string {
	if named, ok := runnable.(fmt.Stringer); ok {
		name := ""
		_ = isolated(func() error {
			name = contain.TextOf(named)
			return nil
		})
		if !isBlank(name) {
			return name
		}
	}
	return fmt.Sprintf("%T", runnable)
}
