package stream

import (
	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/contain"
)

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
