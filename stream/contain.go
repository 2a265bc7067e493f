package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// The user's code runs in many places: handlers, middleware and codecs, stores, loss
// policies, order keys, observers, log handlers, the client's hooks and callbacks, and
// the methods of every error that comes from one of them. A panic there, or
// runtime.Goexit, becomes an error of the entry or the command at hand. [CatchPanic]
// does that for the chain of an entry, caught and elsewhere for everything else, and
// harmless for the methods of errors.

// errGoexit is the failure of a function that ended its goroutine.
var errGoexit = errors.New("the function ended its goroutine (runtime.Goexit) instead of returning")

// caught calls do. A panic is returned as a [*PanicError].
func caught(do func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = newPanicError(value)
		}
	}()
	return harmless(do())
}

// isolated calls do on a goroutine of its own, and waits for it. It is caught that
// also outlasts runtime.Goexit, which nothing can stop on the same goroutine. It also
// keeps stacks small: a command takes more of a stack than anything else that a
// consumer's goroutines do, and a goroutine keeps the stack that it once needed.
func isolated(do func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() { result <- err }()
		err = caught(do)
	}()
	return <-result
}

// harmless returns err itself, unless one of its methods, or of an error that it
// wraps, panics: a nil *net.OpError returned as an error does. In its place comes an
// error whose methods do not. Every error of the user's code passes here before
// anything looks into it.
func harmless(err error) error {
	if err == nil {
		return nil
	}
	if isSound(err) {
		return err
	}
	left := maxWrapped
	return contain(err, maxDepth, &left)
}

// tame returns an error of which no method ever panics: go-redis's own as it is, which
// others compare with ==, and any other one contained.
func tame(err error) error {
	if err == nil {
		return nil
	}
	switch err.(type) { //nolint:errorlint // not the errors in it
	case redis.Error, *contained, *PanicError:
		return err
	}
	left := maxWrapped
	return contain(err, maxDepth, &left)
}

// as is errors.As for an error of the user's, which may pass [harmless] and panic later.
func as[E error](err error) (found E, is bool) {
	_ = caughtPanic(func() { is = errors.As(err, &found) })
	return found, is && !isNil(found)
}

// isErr is errors.Is, likewise.
func isErr(err, target error) (is bool) {
	_ = caughtPanic(func() { is = errors.Is(err, target) })
	return is
}

// maxDepth is how deep an error may be wrapped, and maxWrapped how many it may wrap in
// all. An error that wraps itself would be looked into for ever.
const maxDepth, maxWrapped = 100, 100_000

// probe is a target that no error is.
type probe struct{}

func (*probe) Error() string { return "" }

// isSound calls the methods of an error and of all that it wraps, and reports whether
// none of them panics, and they have an end.
func isSound(err error) (sound bool) {
	left := maxWrapped
	return caughtPanic(func() { sound = looksSound(err, maxDepth, &left) }) == nil && sound
}

func looksSound(err error, depth int, left *int) bool {
	if err == nil {
		return true
	}
	if *left--; depth == 0 || *left < 0 {
		return false
	}
	_ = err.Error()
	if is, ok := err.(interface{ Is(error) bool }); ok {
		is.Is((*probe)(nil))
	}
	if as, ok := err.(interface{ As(any) bool }); ok {
		var target *probe
		as.As(&target)
	}
	for _, wrapped := range wrappedBy(err) {
		if !looksSound(wrapped, depth-1, left) {
			return false
		}
	}
	return true
}

// wrappedBy returns the errors that an error wraps itself.
func wrappedBy(err error) []error {
	switch wrapper := err.(type) { //nolint:errorlint // as errors.Is and errors.As do
	case interface{ Unwrap() error }:
		return []error{wrapper.Unwrap()}
	case interface{ Unwrap() []error }:
		return wrapper.Unwrap()
	default:
		return nil
	}
}

// contained stands for an error of which a method panics. errors.Is and errors.As find in
// it all that can be found in that error without a panic.
type contained struct {
	err   error
	text  string
	parts []error // the errors that err wraps
}

func contain(err error, depth int, left *int) error {
	if err == nil {
		return nil
	}
	if *left--; depth == 0 || *left < 0 {
		return &contained{text: fmt.Sprintf("an error of type %T that wraps too many others, or itself", err)}
	}
	c := &contained{err: err}
	if flaw := caughtPanic(func() { c.text = err.Error() }); flaw != nil {
		c.text = fmt.Sprintf("an error of type %T, whose Error method panics: %s", err, textOf(flaw))
	}
	if isNil(err) {
		c.text = fmt.Sprintf("a nil %T that was returned as an error; return nil itself instead", err)
	}
	var parts []error
	_ = caughtPanic(func() { parts = wrappedBy(err) })
	for _, part := range parts {
		c.parts = append(c.parts, contain(part, depth-1, left))
	}
	return c
}

// textOf is fmt.Sprint for a value of the user's. That outlasts a method that panics, but
// not one that does so with a value whose method panics, too.
func textOf(value any) (text string) {
	if caughtPanic(func() { text = fmt.Sprint(value) }) != nil {
		return fmt.Sprintf("a value of type %T, which cannot be printed", value)
	}
	return text
}

// caughtPanic returns the value of do's panic, nil if there is none.
func caughtPanic(do func()) (value any) {
	defer func() { value = recover() }()
	do()
	return nil
}

func (c *contained) Error() string { return c.text }

func (c *contained) Unwrap() []error { return c.parts }

// Is is for errors.Is.
func (c *contained) Is(target error) (is bool) {
	_ = caughtPanic(func() {
		if is = reflect.TypeOf(target).Comparable() && c.err == target; is {
			return
		}
		if method, ok := c.err.(interface{ Is(error) bool }); ok {
			is = method.Is(target)
		}
	})
	return is
}

// As is for errors.As. A nil pointer is never found: the caller of errors.As reads the
// fields of the target.
func (c *contained) As(target any) (as bool) {
	_ = caughtPanic(func() {
		if c.err == nil {
			return
		}
		value, to := reflect.ValueOf(c.err), reflect.ValueOf(target).Elem()
		if value.Type().AssignableTo(to.Type()) {
			if as = !isNil(c.err); as {
				to.Set(value)
			}
			return
		}
		if method, ok := c.err.(interface{ As(any) bool }); ok {
			as = method.As(target) && !isNil(to.Interface())
		}
	})
	return as
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
	_ = caughtPanic(func() { enabled = h.to.Enabled(ctx, level) })
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
	_ = caughtPanic(func() {
		if made := make(); made != nil {
			h.to = made
		}
	})
	return h
}
