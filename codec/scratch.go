package codec

import "sync"

// scratch is where the texts of one value are made, so that all of them together
// cost one allocation.
type scratch struct {
	texts []byte
	spans []span
}

// span tells where in scratch the text at a position of the pairs is.
type span struct{ at, start, end int }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func newScratch() *scratch {
	s, _ := scratches.Get().(*scratch)
	return s
}

// cut puts the texts into their places in pairs.
func (s *scratch) cut(pairs []string) {
	if len(s.spans) == 0 {
		return
	}
	texts := string(s.texts)
	for _, span := range s.spans {
		pairs[span.at] = texts[span.start:span.end]
	}
}

// maxScratchBytes keeps one large value from holding its memory for ever.
const maxScratchBytes = 64 << 10

func (s *scratch) free() {
	if cap(s.texts) > maxScratchBytes {
		return
	}
	s.texts, s.spans = s.texts[:0], s.spans[:0]
	scratches.Put(s)
}
