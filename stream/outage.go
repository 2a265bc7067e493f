package stream

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/task"
)

// persist does something until it works. It gives up when ctx is done, and on
// errors that no waiting can mend; of the server's answers only those at the start
// count as such, because later the same words may come from an operator's
// mistake or a failover, and a consumer that has worked once should outlast it.
func (r *run) persist(ctx context.Context, what string, do func(context.Context) error, starting bool) error {
	var trouble *outage // made when there is some: most of this works at once
	defer func() { trouble.Abandon() }()
	watchdog := task.WatchdogOf(ctx)
	for {
		watchdog.Begin()
		err := caught(func() error { return do(ctx) })
		watchdog.End()
		if err == nil {
			trouble.Ends()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if classify(err).Ends(starting) {
			return fmt.Errorf("stream: %s failed for %s: %w", what, r.engine.identity.Stream, explain(err))
		}
		if trouble == nil {
			trouble = r.newOutage(r.engine.log, what)
		}
		trouble.GoesOn(err)
		if !task.Sleep(ctx, task.Recovery.Delay(trouble.Failures)) {
			return ctx.Err()
		}
		r.relocate(err) // once more: before, there may have been no other master
	}
}

// Persist is persist after the start, for the mode.
func (r *run) Persist(ctx context.Context, what string, do func(context.Context) error) error {
	return r.persist(ctx, what, do, false)
}

// outage is an incident that Stats, Health and the observers know of.
type outage struct {
	incident
	run  *run
	log  *slog.Logger
	what string
	err  error
	// elsewhere is set where it is about another server than the topic's.
	elsewhere bool
}

// newOutage returns one that has not begun.
func (r *run) newOutage(log *slog.Logger, what string) *outage {
	return &outage{run: r, log: log, what: what}
}

// NewOutage is newOutage for the mode.
func (r *run) NewOutage(log *slog.Logger, what string) task.Outage { return r.newOutage(log, what) }

// GoesOn notes a failure, and logs it now and then.
func (o *outage) GoesOn(err error) {
	if !o.elsewhere {
		o.run.relocate(err)
	}
	err = explain(err)
	o.add(o.log, o.what, err)
	begins := o.Failures == 1
	o.run.engine.meter.update(func(m *meter) {
		o.err = err
		if begins {
			m.outages = append(m.outages, o)
		}
		m.lastError = lastError{at: time.Now(), what: o.what, err: err}
	})
	if begins && len(o.run.engine.config.observers.trouble) > 0 {
		event := o.event()
		tell(o.run.engine, o.run.engine.config.observers.trouble, func(to TroubleObserver) { to.OnTrouble(event) })
	}
}

// Ends notes that it works, and logs that if it did not before.
func (o *outage) Ends() {
	if o == nil || o.Failures == 0 {
		return
	}
	o.over(o.log, o.what)
	event := o.event()
	o.Abandon()
	if len(o.run.engine.config.observers.recovery) > 0 {
		tell(o.run.engine, o.run.engine.config.observers.recovery, func(to RecoveryObserver) { to.OnRecovery(event) })
	}
}

// Abandon ends an outage that is not tried any more.
func (o *outage) Abandon() {
	if o == nil || o.Failures == 0 {
		return
	}
	o.run.engine.meter.update(func(m *meter) {
		m.outages = slices.DeleteFunc(m.outages, func(other *outage) bool { return other == o })
	})
	o.incident = incident{}
}

func (o *outage) event() Outage {
	return Outage{Identity: o.run.reader.Identity, What: o.what, Err: o.err, Failures: o.Failures, Since: o.Since}
}

// incident is one with its log lines.
type incident struct{ task.Incident }

func (i *incident) add(log *slog.Logger, what string, err error) {
	if now := time.Now(); i.Note(now, classify(err).Advice) {
		log.Warn(what+" failed; trying again until it works", "err", err, "failures", i.Failures, "lasts", now.Sub(i.Since))
	}
}

func (i *incident) over(log *slog.Logger, what string) {
	log.Info(what+" works again", "failures", i.Failures, "lasted", time.Since(i.Since))
}

// relocate has the consumer's client look anew, and its store, which may have another
// one: each that found out by itself would wait as long as the one before.
func (r *run) relocate(err error) {
	conn.Relocate(r.client, err)
	if store, ok := r.store.(offset.Relocator); ok && conn.Unanswered(err) {
		_ = contain.Isolated(func() error {
			store.Relocate()
			return nil
		})
	}
}
