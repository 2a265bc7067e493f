package commit

import (
	"context"
	"errors"

	"millrace/stream/internal/window"
)

// Batch is entries whose processing has ended, and the writes that belong to their end.
type Batch struct {
	// Ended are entries that are settled as they are, each together with its effects
	// (window.Item.Effects). In log mode they follow each other in
	// the stream, from the low mark on.
	Ended []*window.Item
	// Letters are entries that go to a dead-letter stream. Each can fail by itself: the
	// result is in the letter.
	Letters []*Letter
}

// Settler records the content of a batch, in one try. Its error is about Ended alone. It may be
// called by several goroutines, but by one at a time with entries in Ended.
type Settler interface {
	Settle(ctx context.Context, b *Batch) error
}

// ErrClaimed says that an entry is another consumer's now. It is public: see package stream.
var ErrClaimed = errors.New("stream: the entry was claimed by another consumer")

// ErrGone is the result of a dead letter whose entry is in the stream no more, and was too
// large to be kept here. Without the fields of its entry the letter would be of no use.
var ErrGone = errors.New("the entry was trimmed or deleted before it could be copied")
