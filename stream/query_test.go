package stream_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// A query sees what go-redis does, but for the fields of entries; and the connection
// is as good as before.
func TestGlance(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	admin := server.Client()
	cluster := streamtest.StartCluster(t)
	large := strings.Repeat("x", 1<<20)
	fill := func(client redis.UniversalClient) (ids []string) {
		for _, pad := range []string{"small", large, "", large} {
			ids = append(ids, addFields(t, client, "id", "x", "pad", pad, "twice", "1", "twice", "2"))
		}
		if err := client.XDel(t.Context(), "orders", ids[2]).Err(); err != nil {
			t.Fatal(err)
		}
		if err := client.XGroupCreateMkStream(t.Context(), "empty", "g", "0").Err(); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	ids := fill(admin)
	clients := map[string]redis.UniversalClient{"cluster": cluster.Client()}
	idsOf := map[string][]string{"cluster": fill(clients["cluster"])}
	for name, protocol := range map[string]int{"RESP2": 2, "RESP3": 3} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: protocol, PoolSize: 1})
		t.Cleanup(func() { _ = client.Close() })
		clients[name], idsOf[name] = client, ids
	}
	for name, client := range clients {
		ids := idsOf[name]
		before := client.PoolStats()
		for position, want := range map[string]stream.Glances{
			"0-0":  {Next: ids[0], Entry: stream.Entry{ID: ids[0], Fields: codec.FieldsOf("id", "x", "pad", "small", "twice", "1", "twice", "2")}},
			ids[0]: {Next: ids[1], Entry: stream.Entry{ID: ids[1]}},
			ids[1]: {Next: ids[3], Entry: stream.Entry{ID: ids[3]}},
			ids[3]: {},
		} {
			info, err := client.XInfoStream(t.Context(), "orders").Result()
			if err != nil {
				t.Fatal(err)
			}
			want.Info = &redis.XInfoStream{
				Length: info.Length, EntriesAdded: info.EntriesAdded, LastGeneratedID: info.LastGeneratedID, MaxDeletedEntryID: info.MaxDeletedEntryID,
				FirstEntry: redis.XMessage{ID: info.FirstEntry.ID}, LastEntry: redis.XMessage{ID: info.LastEntry.ID},
			}
			if got := stream.Glance(t, client, "orders", position, 100); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, behind %s: %+v, want %+v", name, position, got, want)
			}
		}
		if got := stream.Glance(t, client, "empty", "0-0", 100); got.Info.Length != 0 || got.Info.FirstEntry.ID != "" || got.Next != "" || got.Entry.ID != "" {
			t.Errorf("%s, of an empty stream: %+v", name, got)
		}
		if after := client.PoolStats(); name != "cluster" && (after.TotalConns != 1 || after.Misses > before.Misses+1 || after.StaleConns != before.StaleConns) {
			t.Errorf("%s: connections were dropped: %+v, before %+v", name, after, before)
		}
	}
}

// What is cut off is looked at again in the same way: in the ordinary one, the fields
// would be in memory.
func TestAGlanceIsCutOff(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	proxy := streamtest.StartProxy(t, server.Addr)
	id := addFields(t, server.Client(), "pad", strings.Repeat("x", 1<<20))
	client := proxy.Client()
	for _, at := range []int64{0, 1, 200, 100_000} {
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		proxy.Cut(streamtest.ToClient, at)
		before := proxy.Stats().Accepted
		got := stream.Glance(t, client, "orders", "0-0", 100)
		if got.Info.Length != 1 || got.Info.FirstEntry.ID != id || got.Next != id || got.Entry.ID != id || got.Entry.Fields.Len() != 0 {
			t.Errorf("cut at %d: %+v", at, got)
		}
		if proxy.Stats().Accepted == before {
			t.Errorf("nothing was cut at %d", at)
		}
	}
}
