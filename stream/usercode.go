package stream

import (
	"context"
	"log/slog"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
)

// caught is contain.Caught with the public error of a panic.
func caught(do func() error) error { return public(contain.Caught(do)) }

// isolated is contain.Isolated with the public error of a panic.
func isolated(do func() error) error { return public(contain.Isolated(do)) }

// public returns a [*PanicError] for the error of a panic that a room has caught, and any
// other error as it is.
func public(err error) error {
	if panicked, is := err.(*contain.PanicError); is { //nolint:errorlint // as it was caught, not wrapped
		shown := PanicError(*panicked)
		return &shown
	}
	return err
}

// load and save call a store of the user's.
func load(ctx context.Context, store offset.Store, label string) (id string, found bool, err error) {
	err = isolated(func() (err error) {
		id, found, err = store.Load(ctx, label)
		return err
	})
	return id, found, err
}

func save(ctx context.Context, store offset.Store, label, id string) error {
	return isolated(func() error { return store.Save(ctx, label, id) })
}

// outlasting returns the user's log handler as one that a consumer outlasts.
func outlasting(logger *slog.Logger) *slog.Logger {
	if _, already := logger.Handler().(safeHandler); already {
		return logger
	}
	return slog.New(safeHandler{logger.Handler()})
}

// safeHandler drops a line over which the user's handler panics.
type safeHandler struct{ to slog.Handler }

func (h safeHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	_ = contain.CaughtPanic(func() { enabled = h.to.Enabled(ctx, level) })
	return enabled
}

func (h safeHandler) Handle(ctx context.Context, record slog.Record) error {
	return isolated(func() error { return h.to.Handle(ctx, record) })
}

func (h safeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func() slog.Handler { return h.to.WithAttrs(attrs) })
}

func (h safeHandler) WithGroup(name string) slog.Handler {
	return h.with(func() slog.Handler { return h.to.WithGroup(name) })
}

func (h safeHandler) with(make func() slog.Handler) slog.Handler {
	_ = contain.CaughtPanic(func() {
		if made := make(); made != nil {
			h.to = made
		}
	})
	return h
}

// classify returns the verdict on an error of a server, of a store, or of this package.
func classify(err error) conn.Verdict {
	if loss, is := contain.As[*LossError](err); is && loss != nil {
		return conn.Verdict{Class: conn.Final, Advice: "the loss policy says stop; look at what was lost, then set the offset, or choose another policy"}
	}
	return conn.Classify(err)
}

// explain returns the error as it is shown to users: with its advice in front, and with
// a [*PanicError] for a panic that a room has caught. It is safe to log.
func explain(err error) error {
	return classify(err).Explain(shown(err))
}

// shown returns an error in which errors.As finds a [*PanicError] for a panic that a room has
// caught.
func shown(err error) error {
	if panicked, is := contain.As[*contain.PanicError](err); is {
		public := PanicError(*panicked)
		return &shownPanicError{err, &public}
	}
	return err
}

// shownPanicError is an error that wraps a panic's, for errors.As to find the public one.
type shownPanicError struct {
	error
	panicked *PanicError
}

func (e *shownPanicError) Unwrap() []error { return []error{e.error, e.panicked} }
