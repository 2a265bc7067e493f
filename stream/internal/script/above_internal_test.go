package script

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/streamtest"
)

// FuzzAbove holds the order of IDs in scripts to that of their numbers.
func FuzzAbove(f *testing.F) {
	client := streamtest.StartRedis(f, "--appendonly", "no").Client()
	isAbove := redis.NewScript(source("prelude_above") + `return above(ARGV[1], ARGV[2]) and 1 or 0`)
	if err := isAbove.Load(f.Context(), client).Err(); err != nil {
		f.Fatal(err)
	}
	f.Add(uint64(0), uint64(1), uint64(0), uint64(0))
	f.Add(uint64(5), uint64(0), uint64(4), uint64(1<<64-1))
	f.Add(uint64(1<<64-1), uint64(1<<64-1), uint64(1<<64-1), uint64(1<<64-2))
	f.Fuzz(func(t *testing.T, aMs, aSeq, bMs, bSeq uint64) {
		a, b := offset.ID{Ms: aMs, Seq: aSeq}, offset.ID{Ms: bMs, Seq: bSeq}
		if got, err := isAbove.EvalSha(t.Context(), client, nil, a.String(), b.String()).Int(); err != nil || (got == 1) != (a.Compare(b) > 0) {
			t.Errorf("in a script, %s above %s is %d, %v", a, b, got, err)
		}
	})
}
