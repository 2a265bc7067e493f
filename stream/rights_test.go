package stream_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
)

// The rights that the documentation of the constructors names are enough, and
// none of them is idle: no command that a consumer sends is refused.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	const shared = " +client|id +client|unblock"
	for mode, rights := range map[string]string{
		"log in a Runner":   "+xread +xrevrange +xinfo|stream +role +xrange +xadd +eval +evalsha +hget +hset" + shared,
		"group in a Runner": "+xreadgroup +xack +xpending +xclaim +xautoclaim +xgroup|create +xgroup|delconsumer +xgroup|setid +xinfo|stream +xinfo|groups +xinfo|consumers +xrange +xadd +eval +evalsha +role" + shared,
		"log":               "+xread +xrevrange +xinfo|stream +role +xrange +xadd +eval +evalsha +hget +hset",
		"group":             "+xreadgroup +xack +xpending +xclaim +xautoclaim +xgroup|create +xgroup|delconsumer +xgroup|setid +xinfo|stream +xinfo|groups +xinfo|consumers +xrange +xadd +eval +evalsha +client|id +client|unblock +role",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			user := append([]string{"--user", "limited", "on", ">any", "~orders", "~{orders}:dead", "~millrace:offsets", "-@all"}, strings.Fields(rights)...)
			server := streamtest.StartRedis(t, user...)
			admin := server.Client()
			client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "limited", Password: "any", DisableIdentity: true, Protocol: 2})
			defer func() { _ = client.Close() }()
			rec := newRecorder()
			rec.handle = func(_ context.Context, msg *stream.Message[order]) error {
				switch msg.Value.ID {
				case "dead":
					return &stream.DeadLetterError{Err: io.ErrUnexpectedEOF}
				case "fails":
					if msg.Deliveries == 1 {
						return errors.New("not yet")
					}
				}
				return nil
			}
			var consumer *stream.Consumer[order]
			var out logs
			if strings.HasPrefix(mode, "log") {
				store, err := offset.NewRedis(client, "")
				if err != nil {
					t.Fatal(err)
				}
				consumer = newConsumer(t, client, store, rec.Handle, stream.WithStart(stream.FromEnd()), stream.WithLogger(out.Logger()))
			} else {
				consumer = newGroup(t, client, rec.Handle, stream.WithLogger(out.Logger()))
			}
			var running runner = consumer
			if strings.HasSuffix(mode, "Runner") {
				r := &stream.Runner{}
				r.Add(consumer)
				running = r
			}
			stop := start(t, running)
			eventually(t, "it has started", func() bool { return len(out.lines("consumer started")) > 0 })
			for _, id := range []string{"a", "fails", "dead", "b"} {
				add(t, admin, id)
			}
			if seen := rec.await(t, 5); !slices.Contains(seen, "b") {
				t.Errorf("delivered %v", seen)
			}
			eventually(t, "the dead letter is there", func() bool { return admin.XLen(t.Context(), "{orders}:dead").Val() == 1 })
			if strings.HasPrefix(mode, "group") {
				settled(t, admin)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			refused, err := admin.ACLLog(t.Context(), 10).Result()
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range refused {
				if entry.Object != "hello" { // go-redis' greeting, which it does without
					t.Errorf("%s was refused: %s", entry.Object, entry.Reason)
				}
			}
			if len(out.lines("NOPERM")) > 0 {
				t.Errorf("the log is\n%s", out.String())
			}
		})
	}
}
