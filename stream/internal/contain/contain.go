package contain

import (
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"

	"github.com/redis/go-redis/v9"
)

// The user's code runs in many places: handlers, middleware and codecs, stores, loss
// policies, order keys, observers, log handlers, the client's hooks and callbacks, and
// the methods of every error that comes from one of them. A panic there, or
// runtime.Goexit, becomes an error of the entry or the command at hand. The CatchPanic of
// package stream does that for the chain of an entry, Caught and Isolated for everything
// else, and Harmless for the methods of errors.

// ErrGoexit is the failure of a function that ended its goroutine.
var ErrGoexit = errors.New("the function ended its goroutine (runtime.Goexit) instead of returning")

// PanicError is the error of a function that panicked. To users package stream shows it as
// its own PanicError.
type PanicError struct {
	// Err is the panic's value, made into an error if it was none.
	Err error
	// Stack is the stack of the goroutine at the panic.
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Err) }

// Unwrap returns the panic's value, for errors.Is and errors.As.
func (e *PanicError) Unwrap() error { return e.Err }

// NewPanicError makes the error of a panic's value. It is for the goroutine of the panic.
func NewPanicError(value any) *PanicError {
	err, ok := value.(error)
	if !ok {
		err = errors.New(TextOf(value))
	}
	return &PanicError{Err: Harmless(err), Stack: debug.Stack()}
}

// Caught calls do. A panic is returned as a [*PanicError].
func Caught(do func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = NewPanicError(value)
		}
	}()
	return Harmless(do())
}

// Isolated calls do on a goroutine of its own, and waits for it. It is caught that
// also outlasts runtime.Goexit, which nothing can stop on the same goroutine. It also
// keeps stacks small: a command takes more of a stack than anything else that a
// consumer's goroutines do, and a goroutine keeps the stack that it once needed.
func Isolated(do func() error) error {
	result := make(chan error, 1)
	go func() {
		err := ErrGoexit
		defer func() { result <- err }()
		err = Caught(do)
	}()
	return <-result
}

// Harmless returns err itself, unless one of its methods, or of an error that it
// wraps, panics: a nil *net.OpError returned as an error does. In its place comes an
// error whose methods do not. Every error of the user's code passes here before
// anything looks into it.
func Harmless(err error) error {
	if err == nil {
		return nil
	}
	if isSound(err) {
		return err
	}
	left := maxWrapped
	return contain(err, maxDepth, &left)
}

// Tame returns an error of which no method ever panics: go-redis's own as it is, which
// others compare with ==, and any other one contained.
func Tame(err error) error {
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

// As is errors.As for an error of the user's, which may pass [harmless] and panic later.
func As[E error](err error) (found E, is bool) {
	_ = CaughtPanic(func() { is = errors.As(err, &found) })
	return found, is && !IsNil(found)
}

// IsErr is errors.Is, likewise.
func IsErr(err, target error) (is bool) {
	_ = CaughtPanic(func() { is = errors.Is(err, target) })
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
	return CaughtPanic(func() { sound = looksSound(err, maxDepth, &left) }) == nil && sound
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
	for _, wrapped := range WrappedBy(err) {
		if !looksSound(wrapped, depth-1, left) {
			return false
		}
	}
	return true
}

// WrappedBy returns the errors that an error wraps itself.
func WrappedBy(err error) []error {
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
	if flaw := CaughtPanic(func() { c.text = err.Error() }); flaw != nil {
		c.text = fmt.Sprintf("an error of type %T, whose Error method panics: %s", err, TextOf(flaw))
	}
	if IsNil(err) {
		c.text = fmt.Sprintf("a nil %T that was returned as an error; return nil itself instead", err)
	}
	var parts []error
	_ = CaughtPanic(func() { parts = WrappedBy(err) })
	for _, part := range parts {
		c.parts = append(c.parts, contain(part, depth-1, left))
	}
	return c
}

// TextOf is fmt.Sprint for a value of the user's. That outlasts a method that panics, but
// not one that does so with a value whose method panics, too.
func TextOf(value any) (text string) {
	if CaughtPanic(func() { text = fmt.Sprint(value) }) != nil {
		return fmt.Sprintf("a value of type %T, which cannot be printed", value)
	}
	return text
}

// CaughtPanic returns the value of do's panic, nil if there is none.
func CaughtPanic(do func()) (value any) {
	defer func() { value = recover() }()
	do()
	return nil
}

func (c *contained) Error() string { return c.text }

func (c *contained) Unwrap() []error { return c.parts }

// Is is for errors.Is.
func (c *contained) Is(target error) (is bool) {
	_ = CaughtPanic(func() {
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
	_ = CaughtPanic(func() {
		if c.err == nil {
			return
		}
		value, to := reflect.ValueOf(c.err), reflect.ValueOf(target).Elem()
		if value.Type().AssignableTo(to.Type()) {
			if as = !IsNil(c.err); as {
				to.Set(value)
			}
			return
		}
		if method, ok := c.err.(interface{ As(any) bool }); ok {
			as = method.As(target) && !IsNil(to.Interface())
		}
	})
	return as
}

// IsNil also sees a nil pointer inside an interface, which would otherwise be
// found by the first call on it.
func IsNil(v any) bool {
	if v == nil {
		return true
	}
	switch value := reflect.ValueOf(v); value.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Interface:
		return value.IsNil()
	default:
		return false
	}
}
