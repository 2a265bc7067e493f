package faults_test

import (
	"flag"
	"hash/fnv"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	long = flag.Bool("long", false, "run the long form of the suites")
	seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "what the order and the instants of faults follow from")
)

// pick returns how much there is to do in the form that runs.
func pick(short, inLong int) int {
	if *long {
		return inLong
	}
	return short
}

// dice returns the randomness of a test, and says which it is.
func dice(t testing.TB) *rand.Rand {
	t.Helper()
	t.Logf("-seed %d", *seed)
	name := fnv.New64a()
	_, _ = name.Write([]byte(t.Name()))
	return rand.New(rand.NewPCG(*seed, name.Sum64()))
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(watched{m},
		// While a server is gone, the pool of a client looks for it once a second;
		// a pool that is closed in between notices that after its sleep.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
