package middleware

import "millrace/stream"

// Recover makes a panic further in a [*stream.PanicError], with the stack in
// it, so that the middleware outside treats it like any other error. A consumer does
// that around the handler and around each middleware by itself: Recover is for a stack
// that is used without one, in a test for example.
func Recover() stream.Middleware { return stream.CatchPanic }
