package middleware

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
)

// DedupConfig configures [Dedup].
type DedupConfig struct {
	// Window is how long an event is remembered after it was handled. Redis
	// holds one small key per event for that long: some 210 bytes, measured, so
	// that a thousand events a second take 130 megabytes with the default.
	// Default, also for less than zero: 10 minutes.
	Window time.Duration
	// Lease is how long another entry with the same key waits for the outcome
	// of the one that is being handled. Make it longer than any handling takes,
	// retries included. After a crash the entry itself is handled again at once;
	// only its twin waits for the lease to end.
	// Default, also for less than zero: 1 minute.
	Lease time.Duration
	// Prefix begins the name of every key in Redis.
	// Default: "millrace:dedup:".
	Prefix string
	// Logger is told when an entry was handled, but could not be marked as
	// such. Default: slog.Default() at the time of the call of Dedup.
	Logger *slog.Logger
}

// Dedup passes an event that was handled already, for producers that send
// twice: of all entries for which key returns the same text, one is handled
// within the window, and the others are skipped, with its ID as the reason.
// Entries with an empty key are handled as if Dedup were not there. Keys of
// different streams have nothing to do with each other.
//
// The label names the consumer that has handled an event: give the consumer's label
// or group, or some other name, the same in each of its processes. Two consumers
// of a stream that each must see all of it need two labels, or one passes events that
// only the other has handled. For the same reason, a stream that is to be
// processed again on purpose, within the window, needs a new label.
//
// No event is lost. An event counts as handled when the handler has returned
// nil, and not before; after any other outcome, a skip and a dead letter included,
// the next entry with its key is handled. An entry that comes while another with
// its key is being handled fails with an ordinary error, is held by the engine,
// and looks again when it is delivered again. While Redis cannot be asked, all
// entries with a key are held.
//
// An event is handled twice if
//   - the process ends between the end of its handling and the mark, which is
//     made at once after it;
//   - the mark cannot be made, which is logged, or is lost to an eviction or a
//     failover of Redis;
//   - its handling takes longer than the lease, and the second entry comes then;
//   - more than the window lies between the end of one handling and the next
//     entry, such as when the consumer stood still in between;
//   - one entry is delivered to two consumers at once, which happens in group
//     mode to an entry whose first consumer is slow.
//
// The key may be personal data. It is never logged, and Redis is given only its
// SHA-256 hash, together with those of label and stream; mind that the hash of
// something as guessable as a phone number can be found by trying.
//
// The client may be of any kind, and is not closed. All commands are scripts, which the
// client of a cluster sends to primaries. Its hooks and timeouts apply to them; give it
// ContextTimeoutEnabled, or a stop may wait for its ReadTimeout. Its user needs the rights
// +set +get +del +eval +evalsha on keys with the prefix and label. Every entry
// costs two round trips. A nil client, a nil key function and a blank label are
// mistakes; then every entry fails with an error that says so.
func Dedup(client redis.UniversalClient, label string, key func(*stream.Entry) string, config DedupConfig) stream.Middleware {
	if err := checkDedup(client, label, key); err != nil {
		return func(stream.EntryHandler) stream.EntryHandler {
			return func(context.Context, *stream.Entry) error { return err }
		}
	}
	if config.Window <= 0 {
		config.Window = 10 * time.Minute
	}
	if config.Lease <= 0 {
		config.Lease = time.Minute
	}
	if config.Prefix == "" {
		config.Prefix = "millrace:dedup:"
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	d := &dedup{config: config, client: client, label: label, key: key}
	return func(next stream.EntryHandler) stream.EntryHandler {
		next = stream.CatchPanic(next) // or a panic would keep the lease
		return func(ctx context.Context, entry *stream.Entry) error {
			text := d.key(entry)
			if text == "" {
				return next(ctx, entry)
			}
			return d.handle(ctx, next, entry, d.name(entry.Stream, text))
		}
	}
}

func checkDedup(client redis.UniversalClient, label string, key func(*stream.Entry) string) error {
	var problems []error
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		problems = append(problems, errors.New("the client is nil: give one that redis.NewClient or redis.NewUniversalClient returned"))
	}
	if strings.TrimSpace(label) == "" {
		problems = append(problems, fmt.Errorf("the label is %q: give the consumer's label or group", label))
	}
	if key == nil {
		problems = append(problems, errors.New("the key function is nil: give the one that tells which event an entry is"))
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("middleware.Dedup: %w: %w", stream.ErrInvalidOption, errors.Join(problems...))
}

type dedup struct {
	config DedupConfig
	client redis.UniversalClient
	label  string
	key    func(*stream.Entry) string
}

// The value of a key names the entry that is being handled, or that was handled. The
// entry's ID lets an entry that is delivered again pass its own claim. The token lets
// only the delivery that made a claim remove it: a later delivery to another consumer
// must not lose its claim to the failure of a slow one.
//
//	claimed <entry ID> <token>
//	done <entry ID>
const (
	claimed = "claimed "
	done    = "done "
)

// claimScript claims a key, unless another entry has claimed or done it, or
// this one has done it; then it returns the value of the key. A client that sends the
// script twice, after a lost reply, does no harm, because of the entry's ID.
var claimScript = redis.NewScript(`
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return ''`)

// releaseScript removes a claim, unless another delivery has made it anew.
var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// finishScript notes that an event was handled. It is no plain SET, so that a hook that
// changes keys changes that of all three commands, or of none.
var finishScript = redis.NewScript(`redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1`)

// finishTimeout is how long the outcome may take to be recorded, be it after a
// stop: a consumer that is stopped must record the entries that it has handled.
const finishTimeout = time.Second

func (d *dedup) handle(ctx context.Context, next stream.EntryHandler, entry *stream.Entry, name string) error {
	origin, id := entry.Stream, entry.ID // the handler may change its entry
	own, token := claimed+id+" ", rand.Text()
	held, err := claimScript.Run(ctx, d.client, []string{name}, own, token, max(d.config.Lease.Milliseconds(), 1)).Text()
	if err != nil {
		return fmt.Errorf("asking whether entry %s is a duplicate: %w", id, err)
	}
	if other, found := strings.CutPrefix(held, done); found {
		return stream.Skip("duplicate of entry " + other)
	}
	if held != "" {
		other, _, _ := strings.Cut(strings.TrimPrefix(held, claimed), " ")
		return fmt.Errorf("entry %s with the same key is being handled; its outcome decides about this one", other)
	}

	failure := next(ctx, entry)

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if failure != nil {
		// Where this fails, the lease ends it, and the entry passes it anyway.
		_ = releaseScript.Run(ctx, d.client, []string{name}, own+token).Err()
		return failure
	}
	if err := finishScript.Run(ctx, d.client, []string{name}, done+id, max(d.config.Window.Milliseconds(), 1)).Err(); err != nil {
		// An error would have the event handled again for certain, nil only if
		// it was sent twice.
		_ = outlast(func() {
			d.config.Logger.WarnContext(ctx, "entry handled, but not marked: a duplicate of it would be handled too",
				"stream", origin, "label", d.label, "entry_id", id, "err", err)
		})
	}
	return nil
}

// name returns the name of the Redis key of an event. The lengths keep apart labels,
// streams and keys that are the same when joined: a name that two events share is a
// lost event.
func (d *dedup) name(origin, key string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%d:%s%s", len(d.label), d.label, len(origin), origin, key))
	return d.config.Prefix + d.label + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}
