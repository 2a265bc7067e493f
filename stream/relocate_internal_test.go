package stream

import (
	"io"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/resp"
)

// A store is told to look where its server is when one has not answered, and only then.
func TestTheStoreIsToldOfAServerThatIsGone(t *testing.T) {
	t.Parallel()
	store := &relocated{Store: &offset.Memory{}}
	r := &run{engine: &engine{}, store: store}
	for _, err := range []error{nil, redis.Nil, resp.AnswerError("READONLY You cannot write against a read only replica.")} {
		if r.relocate(err); store.times != 0 {
			t.Fatalf("it was told after %v", err)
		}
	}
	if r.relocate(io.EOF); store.times != 1 {
		t.Errorf("it was told %d times, want once", store.times)
	}
	(&run{engine: &engine{}}).relocate(io.EOF) // in group mode there is none
}

type relocated struct {
	offset.Store
	times int
}

func (r *relocated) Relocate() { r.times++ }
