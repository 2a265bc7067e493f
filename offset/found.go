package offset

import "context"

type foundKey struct{}

// WithFound returns a context with which a Save tells the offset that it finds: found is called,
// before Save returns nil, with the offset that was stored before, be it below the one
// that is saved, the same, or above it, where it stays. It is empty if nothing was
// stored. A Save that fails tells nothing, and a store need not tell: those of this
// package do. found is called by the goroutine of Save.
//
// A consumer notices by it that another one moves the offset of its label. It travels in
// the context, so that it passes through a store around another one, and a store of two
// methods stays one.
func WithFound(ctx context.Context, found func(before string)) context.Context {
	return context.WithValue(ctx, foundKey{}, found)
}

// Found is for the Save of a [Store] to call, once it has succeeded, with the offset that
// was stored before, empty if none was, and before Save returns. It does nothing unless
// the context of Save is one of [WithFound].
func Found(ctx context.Context, before string) {
	if found, ok := ctx.Value(foundKey{}).(func(before string)); ok && found != nil {
		found(before)
	}
}
