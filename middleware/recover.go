package middleware

import "millrace/stream"

// Recover makes a panic further in a [*stream.PanicError], with the stack in
// it, so that the middleware outside treats it like any other error. A panic of
// the handler or the codec is one already, and one that reaches the engine is
// caught there: Recover is for a middleware of your own that may panic, and
// stands outside of it.
func Recover() stream.Middleware { return stream.CatchPanic }
