package streamsql

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset/sqlstore"
	"millrace/stream"
	"millrace/stream/internal/contain"
)

// Option is an option of [Once] and [OnceEach]. [WithIsolation] makes the only one.
type Option interface{ applyToTransactions(*sql.TxOptions) }

type isolation sql.IsolationLevel

func (l isolation) applyToTransactions(o *sql.TxOptions) { o.Isolation = sql.IsolationLevel(l) }

// WithIsolation sets the isolation level of the transactions. Default: sql.LevelDefault, which is
// the level that the database is configured with. A level that the driver does not know is an error
// of each message. Above sql.LevelReadCommitted, Postgres refuses a transaction more often, and the
// message is handled again.
func WithIsolation(level sql.IsolationLevel) Option { return isolation(level) }

func txOptions(opts []Option) (o sql.TxOptions) {
	for _, opt := range opts {
		if opt != nil {
			opt.applyToTransactions(&o)
		}
	}
	return o
}

// RunOption is an option of [NewCompactor] and [NewRelay]: [WithLogger] and [WithInterval].
type RunOption interface{ applyToRun(*runConfig) }

type runConfig struct {
	logger   *slog.Logger
	interval time.Duration
}

type runOption func(*runConfig)

func (set runOption) applyToRun(c *runConfig) { set(c) }

// WithLogger sets the logger. Default, and for nil: slog.Default() at the time of the constructor's
// call.
func WithLogger(logger *slog.Logger) RunOption {
	return runOption(func(c *runConfig) {
		if logger != nil {
			c.logger = logger
		}
	})
}

// WithInterval sets how long a [Compactor] or a [Relay] waits between two looks. Default: 30 seconds
// for a Compactor, and 100 milliseconds for a Relay. Zero and less are refused. That of a Compactor
// must not be shorter than the longest stream.WithClaimIdle of the group's consumers, whose default is
// 30 seconds: see [Compactor].
func WithInterval(d time.Duration) RunOption {
	return runOption(func(c *runConfig) { c.interval = d })
}

func newRunConfig(interval time.Duration, opts []RunOption) runConfig {
	c := runConfig{logger: slog.Default(), interval: interval}
	for _, opt := range opts {
		if opt != nil {
			opt.applyToRun(&c)
		}
	}
	return c
}

// invalid makes a problem out of a format and its arguments.
func invalid(format string, args ...any) error {
	return fmt.Errorf("streamsql: %w: %w", stream.ErrInvalidOption, fmt.Errorf(format, args...))
}

// problems returns all problems of the arguments that constructors have in common.
func (c *runConfig) problems(store *sqlstore.Store, client redis.UniversalClient) error {
	var problems []error
	if store == nil {
		problems = append(problems, invalid("store is nil: give the one that sqlstore.New returned"))
	}
	switch client.(type) {
	case *redis.Client, *redis.ClusterClient:
		if contain.IsNil(client) {
			problems = append(problems, invalid("client is nil: give a *redis.Client or a *redis.ClusterClient"))
		}
	default:
		problems = append(problems, invalid("client is a %T: give a *redis.Client or a *redis.ClusterClient", client))
	}
	if c.interval <= 0 {
		problems = append(problems, invalid("WithInterval(%v): give a time above zero", c.interval))
	}
	return errors.Join(problems...)
}
