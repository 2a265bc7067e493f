package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/admin"
	"millrace/stream/streamtest"
)

// kit is a server, a client of it and an admin.
type kit struct {
	t      testing.TB
	server *streamtest.Redis
	client *redis.Client
	admin  *admin.Admin
}

func newKit(t testing.TB, opts ...admin.Option) *kit {
	t.Helper()
	k := &kit{t: t, server: streamtest.StartRedis(t)}
	k.client = k.server.Client()
	k.admin = adminWith(t, k.client, opts...)
	return k
}

func adminWith(t testing.TB, client redis.UniversalClient, opts ...admin.Option) *admin.Admin {
	t.Helper()
	a, err := admin.New(client, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ok fails the test after an error.
func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must returns a value, and fails the test after an error.
func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		ok(t, err)
		return value
	}
}

// collect returns all that a sequence has, and its error.
func collect[T any](all iter.Seq2[T, error]) (values []T, err error) {
	for value, failed := range all {
		if failed != nil {
			return values, failed
		}
		values = append(values, value)
	}
	return values, nil
}

// do sends a command.
func (k *kit) do(args ...any) any {
	k.t.Helper()
	reply, err := k.client.Do(context.Background(), args...).Result()
	if err != nil {
		k.t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// add adds n entries with the IDs 1-0, 2-0 and on, behind those that are there.
func (k *kit) add(name string, n int) {
	k.t.Helper()
	at := k.client.XLen(context.Background(), name).Val()
	for i := range n {
		k.do("xadd", name, fmt.Sprintf("%d-0", at+int64(i)+1), "n", at+int64(i)+1)
	}
}

// read has a consumer of a group of orders read n entries.
func (k *kit) read(group, consumer string, n int) {
	k.t.Helper()
	k.do("xreadgroup", "group", group, consumer, "count", n, "streams", "orders", ">")
}

// set stores a record as JSON.
func (k *kit) set(key, field string, record any) {
	k.t.Helper()
	text, err := json.Marshal(record)
	ok(k.t, err)
	k.do("hset", key, field, text)
}

// register writes a topic to the registry.
func (k *kit) register(name string, record admin.Registered) {
	k.t.Helper()
	k.set("{millrace}:topics", name, record)
}

// present writes what the agent of a process writes.
func (k *kit) present(id string, process admin.Presence) {
	k.t.Helper()
	text, err := json.Marshal(process)
	ok(k.t, err)
	k.do("set", "{millrace}:process:"+id, text, "px", 15000)
	k.do("hset", "{millrace}:processes", id, time.Now().UnixMilli())
}
