package offset_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"millrace/offset"
	"millrace/offset/offsettest"
	"millrace/stream/streamtest"
)

// redisHarness gives each store a key of its own on one server.
func redisHarness(addr string) offsettest.Harness {
	open := func(t *testing.T, key string) offset.Store {
		client := newClient(t, &redis.Options{Addr: addr})
		store, err := offset.NewRedis(client, key)
		if err != nil {
			t.Fatal(err)
		}
		return redisStore{store, client, key}
	}
	stores := 0
	return offsettest.Harness{
		New: func(t *testing.T) offset.Store {
			stores++
			return open(t, fmt.Sprintf("offsets:%d", stores))
		},
		Reopen: func(t *testing.T, store offset.Store) offset.Store {
			return open(t, store.(redisStore).key)
		},
		Corrupt: func(t *testing.T, store offset.Store, label string) {
			s := store.(redisStore)
			if err := s.client.HSet(t.Context(), s.key, label, "no ID").Err(); err != nil {
				t.Fatal(err)
			}
		},
	}
}

type redisStore struct {
	*offset.Redis
	client *redis.Client
	key    string
}

func newRedis(t *testing.T, client *redis.Client) *offset.Redis {
	t.Helper()
	store, err := offset.NewRedis(client, "")
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestRedis(t *testing.T) {
	t.Parallel()
	offsettest.Run(t, redisHarness(streamtest.StartRedis(t, "--appendonly", "no").Addr))
}

func TestRedisOnMiniredis(t *testing.T) {
	t.Parallel()
	offsettest.Run(t, redisHarness(miniredis.RunT(t).Addr()))
}

// The script compares what Go compares elsewhere; here the two must agree, on
// stored content of any form.
func TestRedisScriptAgreesWithParse(t *testing.T) {
	t.Parallel()
	client := newClient(t, &redis.Options{Addr: streamtest.StartRedis(t, "--appendonly", "no").Addr})
	store := newRedis(t, client)
	ctx := t.Context()

	part := rapid.OneOf(
		rapid.Map(rapid.Uint64(), func(n uint64) string { return fmt.Sprint(n) }),
		rapid.SampledFrom([]string{
			"0", "9", "10", "9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808",
			"10000000000000000000", "18446744073709551614", "18446744073709551615",
		}),
	)
	id := rapid.Map(rapid.SliceOfN(part, 2, 2), func(parts []string) string { return strings.Join(parts, "-") })
	content := rapid.OneOf(id, id,
		rapid.Map(id, func(id string) string { return "0" + id }),
		rapid.Map(id, func(id string) string { return strings.Replace(id, "-", "-0", 1) }),
		rapid.Map(id, func(id string) string { return strings.Replace(id, "-", "0-", 1) }), // perhaps above 2^64
		rapid.StringMatching(`[-0-9]{0,6}`),
		rapid.String(),
	)

	rapid.Check(t, func(t *rapid.T) {
		stored, next := content.Draw(t, "stored"), id.Draw(t, "next")
		if err := client.HSet(ctx, offset.DefaultKey, "label", stored).Err(); err != nil {
			t.Fatal(err)
		}
		want := stored
		_, _, readable := oracleParse(stored)
		if readable && oracleAbove(next, stored) {
			want = next
		}
		err := store.Save(ctx, "label", next)
		if readable && err != nil || !readable && !errors.Is(err, offset.ErrCorrupt) {
			t.Errorf("Save(%q) over %q = %v", next, stored, err)
		}
		if got := client.HGet(ctx, offset.DefaultKey, "label").Val(); got != want {
			t.Errorf("Save(%q) over %q left %q, want %q", next, stored, got, want)
		}
		loaded, found, err := store.Load(ctx, "label")
		if readable != (err == nil && found) || !readable && !errors.Is(err, offset.ErrCorrupt) || readable && loaded != oracleText(want) {
			t.Errorf("Load of %q = %q, %t, %v", want, loaded, found, err)
		}
	})
}

func TestRedisRacingProcesses(t *testing.T) {
	t.Parallel()
	addr := streamtest.StartRedis(t, "--appendonly", "no").Addr
	const processes, each = 8, 100
	ids := rand.Perm(processes * each)
	var wg sync.WaitGroup
	for p := range processes {
		store := newRedis(t, newClient(t, &redis.Options{Addr: addr}))
		wg.Go(func() {
			for _, n := range ids[p*each : (p+1)*each] {
				if err := store.Save(t.Context(), "label", fmt.Sprintf("9-%d", n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	store := newRedis(t, newClient(t, &redis.Options{Addr: addr}))
	if id, found, err := store.Load(t.Context(), "label"); id != "9-799" || !found || err != nil {
		t.Errorf("Load = %q, %t, %v; want the highest, 9-799", id, found, err)
	}
}

func TestRedisSurvivesScriptFlush(t *testing.T) {
	t.Parallel()
	client := newClient(t, &redis.Options{Addr: streamtest.StartRedis(t, "--appendonly", "no").Addr})
	store := newRedis(t, client)
	for _, id := range []string{"1-0", "2-0"} {
		if err := store.Save(t.Context(), "label", id); err != nil {
			t.Fatal(err)
		}
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if got := client.HGetAll(t.Context(), offset.DefaultKey).Val(); len(got) != 1 || got["label"] != "2-0" {
		t.Errorf("hash holds %v", got)
	}
}

func TestRedisNeedsNoMoreRightsThanDocumented(t *testing.T) {
	t.Parallel()
	addr := streamtest.StartRedis(t, "--appendonly", "no").Addr
	admin := newClient(t, &redis.Options{Addr: addr})
	rights := []string{"+hget", "+hset", "+eval", "+evalsha"}
	for missing := -1; missing < len(rights); missing++ {
		user := fmt.Sprintf("user%d", missing)
		rules := []any{"ACL", "SETUSER", user, "on", ">secret", "~" + offset.DefaultKey}
		for i, right := range rights {
			if i != missing {
				rules = append(rules, right)
			}
		}
		if err := admin.Do(t.Context(), rules...).Err(); err != nil {
			t.Fatal(err)
		}
		// Without the script in its cache, the server is asked for EVAL as well.
		if err := admin.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		store := newRedis(t, newClient(t, &redis.Options{Addr: addr, Username: user, Password: "secret"}))
		err := store.Save(t.Context(), "label", fmt.Sprintf("%d-0", missing+2))
		if missing < 0 {
			if _, _, errLoad := store.Load(t.Context(), "label"); err != nil || errLoad != nil {
				t.Errorf("with all documented rights: Save: %v, Load: %v", err, errLoad)
			}
		} else if err == nil {
			t.Errorf("Save works without %s: the documentation asks for too much", rights[missing])
		}
	}
}

func TestRedisErrorsSayWhat(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	if err := server.Set(offset.DefaultKey, "a string"); err != nil {
		t.Fatal(err)
	}
	store := newRedis(t, newClient(t, &redis.Options{Addr: server.Addr()}))
	_, _, errLoad := store.Load(t.Context(), "billing")
	errSave := store.Save(t.Context(), "billing", "1-1")
	for _, err := range []error{errLoad, errSave} {
		var fromRedis redis.Error
		if !errors.As(err, &fromRedis) || errors.Is(err, offset.ErrCorrupt) {
			t.Fatalf("error %v does not wrap the one of Redis", err)
		}
		for _, part := range []string{`"billing"`, `"millrace:offsets"`, "WRONGTYPE"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q does not name %s", err, part)
			}
		}
		if strings.Count(err.Error(), "offset: ") != 1 || !strings.HasPrefix(err.Error(), "offset: ") {
			t.Errorf("error %q shall have the prefix once", err)
		}
	}
}

// A node that stands still, and may have been replaced, is asked once a call: the client
// of a cluster would ask it four times.
func TestRedisAsksOnce(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t, "--appendonly", "no")
	var dials atomic.Int64
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{server.Addr}, Protocol: 2, DisableIdentity: true, ReadTimeout: 20 * time.Millisecond,
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			return []redis.ClusterSlot{{End: 16383, Nodes: []redis.ClusterNode{{Addr: server.Addr}}}}, nil
		},
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	store, err := offset.NewRedis(client, "")
	if err != nil {
		t.Fatal(err)
	}
	save := func() error { return store.Save(t.Context(), "label", "1-1") }
	if err := save(); err != nil { // the client asks which commands there are
		t.Fatal(err)
	}
	server.Freeze()
	if err := save(); err == nil { // on the connection that there is
		t.Fatal("a server that stands still has answered")
	}
	for name, call := range map[string]func() error{
		"Load":  func() error { _, _, err := store.Load(t.Context(), "label"); return err },
		"Save":  save,
		"Reset": func() error { return store.Reset(t.Context(), "label", "1-1") },
	} {
		dials.Store(0) // a connection on which nothing came is not used again
		if err := call(); err == nil || dials.Load() != 1 {
			t.Errorf("%s = %v after %d connections, want an error after one", name, err, dials.Load())
		}
	}
	server.Thaw()
	streamtest.Await(t, "the server answers", func() bool { return save() == nil })
}

func TestNewRedisRefusesNilClient(t *testing.T) {
	t.Parallel()
	for _, client := range []redis.UniversalClient{nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil)} {
		if store, err := offset.NewRedis(client, ""); err == nil || store != nil {
			t.Errorf("NewRedis(%T(nil)) = %v, %v; want an error", client, store, err)
		}
	}
}
