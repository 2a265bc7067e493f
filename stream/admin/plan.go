package admin

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// planLasts is how long a plan may be done after it was made.
const planLasts = 10 * time.Minute

// Plan is a change that was prepared and not done: what it would do, and the state of the
// world for which that was found out. R is what doing it returns. A Plan is for one goroutine.
type Plan[R any] struct {
	// Summary says in one sentence what will be done.
	Summary string
	// Details are lines for people, each a name and a text: what is done in which order, what
	// stays, who does it.
	Details []Detail
	// Affected is how many entries, letters or consumers it is about.
	Affected int64
	// Warnings say what people have to know before they do it.
	Warnings []string
	// Expires is when it can no longer be done.
	Expires time.Time

	op    string // the operation, as the audit names it
	on    string // the stream or the reader
	admin *Admin
	// moved returns what has changed since the plan was made, empty if nothing has.
	moved func(ctx context.Context) (string, error)
	do    func(ctx context.Context, c *doing) (R, error)
	done  bool
}

// Detail is one line of a plan.
type Detail struct{ Name, Text string }

// doing is how a plan is to be done.
type doing struct {
	who, why   string
	anyway     bool
	unattended bool
	rate       int   // a second; 0 is as fast as it goes
	behind     int64 // wait while the reader is further behind; 0 is not at all
	progress   func(Progress)
}

// tell reports how far it is, where that was asked for.
func (d *doing) tell(p Progress) {
	if d.progress != nil {
		d.progress(p)
	}
}

// DoOption says how a plan is done.
type DoOption func(*doing)

// By says who does it, and why. It is required.
func By(who, why string) DoOption { return func(d *doing) { d.who, d.why = who, why } }

// Anyway does it although the world has changed since the plan was made.
func Anyway() DoOption { return func(d *doing) { d.anyway = true } }

// Unattended changes a reader although its consumers cannot be told of it.
func Unattended() DoOption { return func(d *doing) { d.unattended = true } }

// Rate limits how many entries are worked on in a second. Default: as many as go.
func Rate(perSecond int) DoOption { return func(d *doing) { d.rate = perSecond } }

// WaitWhileBehind holds back while the reader is more than so many entries behind. Default: it
// does not.
func WaitWhileBehind(entries int64) DoOption { return func(d *doing) { d.behind = entries } }

// Report is called now and then with how far it is, on the goroutine of Do.
func Report(progress func(Progress)) DoOption { return func(d *doing) { d.progress = progress } }

// Progress is how far a plan is that is being done.
type Progress struct {
	Done, Of int64
	// Behind is how far the reader is behind, where that was asked for; -1 is not known.
	Behind int64
	// Returned is how many of the entries have come back as dead letters.
	Returned int64
	// Waiting says why nothing is done just now; empty if something is.
	Waiting string
}

// MovedError says that the world has changed since a plan was made, so that it was not done.
type MovedError struct {
	Plan string // its summary
	What string // has changed
}

func (e *MovedError) Error() string {
	return fmt.Sprintf("admin: not done, because %s since the plan was made; make a new plan: %s", e.What, e.Plan)
}

// Errors of [Plan.Do].
var (
	ErrNoReason = errors.New("admin: say who and why with By")
	ErrExpired  = errors.New("admin: the plan is too old; make a new one")
	ErrDone     = errors.New("admin: the plan was done already; make a new one")
)

// newPlan returns a plan of this moment.
func newPlan[R any](a *Admin, op, on string, do func(ctx context.Context, d *doing) (R, error)) *Plan[R] {
	return &Plan[R]{Expires: time.Now().Add(planLasts), op: op, on: on, admin: a, do: do}
}

// Do does what was planned, once. It is refused, and nothing is changed, with [ErrNoReason] if
// it was not said who does it and why, [ErrExpired], [ErrDone], and a [*MovedError] if the
// world has changed since; [Anyway] does it all the same. The beginning and the end are logged,
// and written to the audit ([WithAudit]).
//
// After an error, or the end of ctx, the result says what was done.
func (p *Plan[R]) Do(ctx context.Context, opts ...DoOption) (result R, err error) {
	var d doing
	for _, opt := range opts {
		if opt != nil {
			opt(&d)
		}
	}
	if err := p.check(ctx, &d); err != nil {
		return result, err
	}
	if err := p.admin.record(ctx, auditBegin, p.op, p.on, d.who, d.why, p.Summary); err != nil {
		return result, err
	}
	p.done = true
	result, err = p.do(ctx, &d)
	how := fmt.Sprintf("%+v", result)
	if err != nil {
		how += ": " + err.Error()
	}
	// What was done is to be known, also after a stop.
	return result, errors.Join(err, p.admin.record(context.WithoutCancel(ctx), auditEnd, p.op, p.on, d.who, d.why, how))
}

func (p *Plan[R]) check(ctx context.Context, d *doing) error {
	switch {
	case d.who == "" || d.why == "":
		return ErrNoReason
	case p.done:
		return ErrDone
	case time.Now().After(p.Expires):
		return ErrExpired
	case p.moved == nil || d.anyway:
		return nil
	}
	what, err := p.moved(ctx)
	if err == nil && what != "" {
		err = &MovedError{Plan: p.Summary, What: what}
	}
	return err
}
