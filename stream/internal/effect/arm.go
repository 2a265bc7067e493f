package effect

// arm gives a message of package stream a buffer: see [SetArm].
var arm func(msg any, b *Buffer) bool

// SetArm is for package stream, at the start of the program: arm has a literal message collect its
// effects in a buffer with an open run. It reports false for anything else. So the kit of users'
// tests, which cannot import package stream because the tests of that import the kit, needs no
// exported name there.
func SetArm(f func(msg any, b *Buffer) bool) struct{} {
	arm = f
	return struct{}{}
}

// Arm arms a message, and reports whether it is one.
func Arm(msg any, b *Buffer) bool { return arm != nil && arm(msg, b) }
