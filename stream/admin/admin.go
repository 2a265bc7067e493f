package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/internal/loss"
)

// DefaultKeyspace begins the names of the keys in which agents and admins meet. It is a hash
// tag: in a cluster all of them are in one slot.
const DefaultKeyspace = "{millrace}"

// Admin looks at the topics and readers of a server, and changes them. [New] makes one. It is
// safe for concurrent use, starts nothing, and never closes the client.
type Admin struct {
	client   redis.UniversalClient
	keyspace keyspace
	audit    string   // the stream of the audit, empty for none
	offsets  []string // the hashes with offsets of labels
	logger   *slog.Logger

	mu       sync.Mutex
	counters map[Reader]*loss.LagCounter // guarded by mu
}

// Option changes an [Admin] from its default.
type Option interface{ apply(*Admin) error }

type option func(*Admin) error

func (set option) apply(a *Admin) error { return set(a) }

// WithKeyspace sets the beginning of the names of the keys in which agents and admins meet,
// see [NewAgent]. Default: [DefaultKeyspace]. A blank one, and one without a hash tag, are
// refused.
func WithKeyspace(name string) Option {
	return option(func(a *Admin) error {
		open := strings.IndexByte(name, '{')
		if open < 0 || strings.IndexByte(name[open:], '}') < 2 {
			return fmt.Errorf("%w: WithKeyspace(%q): give a name with a hash tag, such as %s", stream.ErrInvalidOption, name, DefaultKeyspace)
		}
		a.keyspace = keyspace(name)
		return nil
	})
}

// WithAudit has each change written to a stream, as an entry with what was done, by whom and
// why; about the last 10,000 of them are kept. Default: none. Each change is logged anyway.
func WithAudit(key string) Option {
	return option(func(a *Admin) error {
		if strings.TrimSpace(key) == "" {
			return fmt.Errorf("%w: WithAudit(%q): give the key of the stream", stream.ErrInvalidOption, key)
		}
		a.audit = key
		return nil
	})
}

// WithOffsets names the hashes in which [millrace/offset.Redis] keeps the offsets of labels; the
// first that has a label counts. Default: [millrace/offset.DefaultKey]. A blank key is refused. A
// label whose offset is in another store has the position that its agent tells.
func WithOffsets(keys ...string) Option {
	return option(func(a *Admin) error {
		for _, key := range keys {
			if strings.TrimSpace(key) == "" {
				return fmt.Errorf("%w: WithOffsets(%q): give the key of the hash", stream.ErrInvalidOption, key)
			}
		}
		a.offsets = slices.Clone(keys)
		return nil
	})
}

// WithLogger sets the logger of changes. Default, and for nil: slog.Default().
func WithLogger(logger *slog.Logger) Option {
	return option(func(a *Admin) error { a.logger = logger; return nil })
}

// New makes an Admin. It does no I/O. The client is a *redis.Client, sentinel-backed ones
// included, or a *redis.ClusterClient. Everything that is wrong comes back in one error, each
// problem wrapping [stream.ErrInvalidOption].
func New(client redis.UniversalClient, opts ...Option) (*Admin, error) {
	a := &Admin{client: client, keyspace: DefaultKeyspace, offsets: []string{offset.DefaultKey}, counters: map[Reader]*loss.LagCounter{}}
	var problems []error
	if client == nil {
		problems = append(problems, fmt.Errorf("%w: client: give a *redis.Client or a *redis.ClusterClient", stream.ErrInvalidOption))
	}
	for _, opt := range opts {
		if opt != nil {
			problems = append(problems, opt.apply(a))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return a, nil
}

// counter returns the counter of a reader's lag, which remembers what it has seen.
func (a *Admin) counter(r Reader) *loss.LagCounter {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.counters[r]
	if c == nil {
		c = &loss.LagCounter{}
		a.counters[r] = c
	}
	return c
}

func (a *Admin) log() *slog.Logger {
	if a.logger == nil {
		return slog.Default()
	}
	return a.logger
}

// Reader is who reads a stream: a consumer group, or a label of a consumer in log mode.
type Reader struct {
	Stream string
	// Group is set in group mode, Label in log mode.
	Group, Label string
}

// Group returns a group as a reader.
func Group(stream, group string) Reader { return Reader{Stream: stream, Group: group} }

// Label returns a label as a reader.
func Label(stream, label string) Reader { return Reader{Stream: stream, Label: label} }

// String names the reader for people: group billing of orders.
func (r Reader) String() string {
	if r.Group != "" {
		return "group " + r.Group + " of " + r.Stream
	}
	return "label " + r.Label + " of " + r.Stream
}

// Address names the reader without its stream, as the header [stream.HeaderFor] does:
// group:billing, or label:search.
func (r Reader) Address() string {
	return stream.Identity{Group: r.Group, Label: r.Label}.Address()
}
