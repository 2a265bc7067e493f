package admin_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace/stream/admin"
)

// manyTopics makes topics with two groups each, one of which is behind and the other has
// something pending, all of them registered.
func manyTopics(k *kit, n int) {
	k.t.Helper()
	pipe := k.client.Pipeline()
	ctx := context.Background()
	for i := range n {
		name := fmt.Sprintf("topic-%04d", i)
		for range 20 {
			pipe.Do(ctx, "xadd", name, "*", "user", "u-1", "cents", "1200")
		}
		pipe.Do(ctx, "xgroup", "create", name, "billing", "0")
		pipe.Do(ctx, "xgroup", "create", name, "mail", "0")
		pipe.Do(ctx, "xreadgroup", "group", "billing", "c", "count", 10, "streams", name, ">")
		pipe.Do(ctx, "hset", "{millrace}:topics", name, `{"readers":["group:billing","group:mail"],"seen":1}`)
	}
	_, err := pipe.Exec(ctx)
	ok(k.t, err)
}

// serverCPU returns how much of the processor the server has used.
func (k *kit) serverCPU() time.Duration {
	k.t.Helper()
	var used time.Duration
	for line := range strings.Lines(k.client.Info(context.Background(), "cpu").Val()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			ok(k.t, err)
			used += time.Duration(seconds * float64(time.Second))
		}
	}
	return used
}

func overview(t testing.TB, a *admin.Admin) (topics, readers int) {
	t.Helper()
	for topic, err := range a.Overview(context.Background(), "") {
		ok(t, err)
		topics++
		for _, standing := range topic.Standings {
			if !standing.Lag.Known || standing.Oldest == "" {
				t.Fatalf("%+v", standing)
			}
			readers++
		}
	}
	return topics, readers
}

// The overview of 1,000 topics with two groups each: 60 ms, and 35 ms of the server's processor,
// on a machine that has nothing else to do.
func BenchmarkOverview(b *testing.B) {
	k := newKit(b)
	manyTopics(k, 1000)
	overview(b, k.admin)
	before := k.serverCPU()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		overview(b, k.admin)
		n++
	}
	b.ReportMetric(float64(k.serverCPU()-before)/float64(n)/1e6, "server-ms/op")
}

func TestOverviewOfManyTopics(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	manyTopics(k, 1000)
	before := k.serverCPU()
	began := time.Now()
	topics, readers := overview(t, k.admin)
	took, cpu := time.Since(began), k.serverCPU()-before
	if topics != 1000 || readers != 2000 {
		t.Errorf("%d topics and %d readers", topics, readers)
	}
	// Many times as much as on an idle machine: it is to fail when each reader is asked alone.
	if took > 2*time.Second || cpu > 300*time.Millisecond {
		t.Errorf("it took %v, and %v of the server", took, cpu)
	}
}
