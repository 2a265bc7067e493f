package stream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// The reader brings what go-redis brings, whatever is in the entries.
func TestReaderReadsWhatGoRedisReads(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	random := rand.New(rand.NewPCG(1, 2))
	keys := []string{"s", "", "t\r\n$1\r\nx\r\n"}
	fillRandomly(t, server.Client(), random, keys, 300)
	for _, protocol := range []int{2, 3} {
		client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: protocol})
		t.Cleanup(func() { _ = client.Close() })
		reader := stream.NewReader(t, client)
		for _, count := range []int64{1, 7, 0} {
			args := &redis.XReadArgs{Streams: append(append([]string{}, keys...), "0", "0", "0"), Count: count, Block: -1}
			got, err := reader.Read(t.Context(), args)
			theirs, theirErr := client.XRead(t.Context(), args).Result()
			sameEntries(t, got, err, theirs, theirErr)

			var groups [2]string
			for i := range groups {
				groups[i] = fmt.Sprint("group ", protocol, count, i)
				for _, key := range keys {
					if err := client.XGroupCreate(t.Context(), key, groups[i], "0").Err(); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 2 {
				args := &redis.XReadGroupArgs{Group: groups[0], Consumer: "c", Streams: append(append([]string{}, keys...), ">", ">", ">"), Count: count, Block: -1}
				got, err := reader.ReadGroup(t.Context(), args)
				args.Group = groups[1]
				theirs, theirErr := client.XReadGroup(t.Context(), args).Result()
				sameEntries(t, got, err, theirs, theirErr)
			}
		}
	}
}

// fillRandomly adds entries of all kinds to the streams.
func fillRandomly(t *testing.T, client *redis.Client, random *rand.Rand, keys []string, entries int) {
	t.Helper()
	text := func() string {
		switch random.IntN(20) {
		case 0:
			return ""
		case 1:
			return strings.Repeat("large", random.IntN(40_000))
		case 2, 3, 4:
			return []string{"a", "b", "c"}[random.IntN(3)]
		}
		raw := make([]byte, random.IntN(200))
		for i := range raw {
			raw[i] = byte(random.IntN(256))
		}
		return string(raw)
	}
	for range entries {
		fields := 1 + random.IntN(10)
		if random.IntN(10) == 0 {
			fields = 1 + random.IntN(200)
		}
		var pairs []string
		for range fields {
			pairs = append(pairs, text(), text())
		}
		key := keys[random.IntN(len(keys))]
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: pairs}).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// sorted returns fields as go-redis has them: their order is lost, and of a name that
// repeats all values but the last.
func sorted[V any](values map[string]V) codec.Fields {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		pairs = append(pairs, name, fmt.Sprint(values[name]))
	}
	return codec.FieldsOf(pairs...)
}

func sameEntries(t *testing.T, got []stream.Entry, err error, theirs []redis.XStream, theirErr error) {
	t.Helper()
	var wanted []stream.Entry
	for _, one := range theirs {
		for _, message := range one.Messages {
			wanted = append(wanted, stream.Entry{
				Stream: one.Stream, ID: message.ID, Fields: sorted(message.Values),
			})
		}
	}
	if err != nil || theirErr != nil && !errors.Is(theirErr, redis.Nil) || len(got) != len(wanted) {
		t.Fatalf("%d entries, %v; want %d, %v", len(got), err, len(wanted), theirErr)
	}
	for i := range got {
		got[i].Fields = sorted(got[i].Fields.Map())
		if !reflect.DeepEqual(got[i], wanted[i]) {
			t.Fatalf("entry %d is %.1000q, want %.1000q", i, fmt.Sprint(got[i]), fmt.Sprint(wanted[i]))
		}
	}
}

// An entry that is pending and deleted has an ID, and no fields.
func TestReaderReadsDeletedEntries(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t).Client()
	reader := stream.NewReader(t, client)
	if err := client.XGroupCreateMkStream(t.Context(), orders.Name, "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	gone, left := add(t, client, "a"), add(t, client, "b")
	read := func(from string) []stream.Entry {
		got, err := reader.ReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{orders.Name, from}})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := read(">"); len(got) != 2 {
		t.Fatal(got)
	}
	if err := client.XDel(t.Context(), orders.Name, gone).Err(); err != nil {
		t.Fatal(err)
	}
	if got := read("0"); len(got) != 2 || got[0].ID != gone || got[0].Fields.Len() != 0 || got[1].ID != left || !reflect.DeepEqual(got[1].Fields, codec.FieldsOf("id", "b", "amount", "1")) {
		t.Errorf("%v", got)
	}
}

func TestReaderReadsLargeValues(t *testing.T) {
	t.Parallel()
	client := streamtest.StartRedis(t, "--appendonly", "no").Client()
	large := strings.Repeat("0123456789abcdef", 4<<20) // 64 MiB
	addFields(t, client, "small", "x", "large", large, "after", "y")
	got, err := stream.NewReader(t, client).Read(t.Context(), &redis.XReadArgs{Streams: []string{orders.Name, "0"}, Count: 1})
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0].Fields, codec.FieldsOf("small", "x", "large", large, "after", "y")) {
		t.Errorf("%d entries, %v", len(got), err)
	}
}

// Over TLS, through the client's own dialler and through the user's.
func TestReaderReadsOverTLS(t *testing.T) {
	t.Parallel()
	server := streamtest.StartRedis(t)
	add(t, server.Client(), "a")
	addr, config := startTLS(t, server.Addr)
	for what, opts := range map[string]redis.Options{
		"TLSConfig": {Addr: addr, TLSConfig: config},
		"Dialer": {Addr: "nowhere:1", Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
		}},
	} {
		client := redis.NewClient(&opts)
		t.Cleanup(func() { _ = client.Close() })
		reader := stream.NewReader(t, client)
		for range 2 {
			got, err := reader.Read(t.Context(), &redis.XReadArgs{Streams: []string{orders.Name, "0"}})
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0].Fields, codec.FieldsOf("id", "a", "amount", "1")) {
				t.Errorf("%s: %v, %v", what, got, err)
			}
		}
	}
}

// startTLS starts what speaks TLS in front of a server.
func startTLS(t *testing.T, server string) (addr string, client *tls.Config) {
	t.Helper()
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(work.Wait)
	t.Cleanup(func() { _ = listener.Close() })
	work.Go(func() {
		for {
			front, err := listener.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", server)
			if err != nil {
				_ = front.Close()
				continue
			}
			work.Go(func() { _, _ = io.Copy(back, front); _ = back.Close() })
			work.Go(func() { _, _ = io.Copy(front, back); _ = front.Close() })
		}
	})
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	return listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS13}
}
