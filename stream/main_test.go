package stream_test

import (
	"flag"
	"runtime"
	"strconv"
	"testing"

	"go.uber.org/goleak"
	_ "pgregory.net/rapid" // has the flag
)

func TestMain(m *testing.M) {
	// A failure is told with its whole plan; the files would be left by each mutant.
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	// Most tests wait for a server, and not for the processor. -parallel goes before this.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m,
		// While a server is gone, the pool of a client looks for it once a second;
		// a pool that is closed in between notices that after its sleep.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
