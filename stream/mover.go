package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/later"
	"millrace/stream/internal/task"
)

// Mover adds entries to their topics when the time of [Producer.PublishAt] has come. [NewMover]
// makes one. Without one running, in any process, entries wait beyond their time.
//
// A Mover holds nothing, and any number of them may run for one topic: a move is one step on the
// server, so that an entry is added once. One Run at a time is allowed for each.
type Mover struct {
	config moverConfig
	topics []string
	client redis.UniversalClient
}

// MoverOption changes how a [Mover] works from its default. [WithLogger] makes one; there are
// no others.
type MoverOption interface {
	applyToMover(*moverConfig)
}

type moverConfig struct{ logger *slog.Logger }

// NewMover makes a mover of the topics with the given names. It does no I/O, starts nothing, and
// closes nothing. Everything that is wrong with the arguments and options comes back in one
// error, each problem wrapping [ErrInvalidOption].
//
// The client is a *redis.Client, sentinel-backed ones included, or a *redis.ClusterClient. Its
// user needs for each topic the Redis rights
//
//	~<topic> ~{<topic>}:due ~{<topic>}:later +xadd +hget +hdel +zadd +zrem +zrange +zrangebyscore +time +eval +evalsha
func NewMover(client redis.UniversalClient, topics []string, opts ...MoverOption) (*Mover, error) {
	cfg := moverConfig{logger: slog.Default()}
	for _, opt := range opts {
		if opt != nil {
			opt.applyToMover(&cfg)
		}
	}
	cfg.logger = outlasting(cfg.logger)
	problems := []error{checkClient(client)}
	if len(topics) == 0 {
		problems = append(problems, invalid("NewMover was given no topics; give the names of those whose entries are to be moved"))
	}
	for _, topic := range topics {
		problems = append(problems, checkStream(topic))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return &Mover{config: cfg, topics: slices.Clone(topics), client: client}, nil
}

// String names the mover for people: mover of orders.
func (m *Mover) String() string {
	if len(m.topics) > 3 {
		return fmt.Sprintf("mover of %s and %d more topics", m.topics[0], len(m.topics)-1)
	}
	return "mover of " + strings.Join(m.topics, ", ")
}

// Run moves entries that are due until ctx is done, and returns nil then. It may be added to a
// [Runner]. It looks at all topics at once, when the next entry is due, and every second.
//
// A time whose contents are gone, because they were removed by hand, is a loss: it is
// logged (Error) with the ticket. So is an entry that the topic cannot take; it stays, and is
// tried again each minute, while others go on.
//
// Trouble with Redis does not end Run: it is logged when it begins, every half minute, and
// when it is over, and tried again. Trouble that no waiting can mend ends it if it is there
// at the start, as with [Consumer.Run]: a key of another type, or a right that is missing.
func (m *Mover) Run(ctx context.Context) error {
	if ctx == nil {
		return errors.New("stream: Run was given no context; pass the one whose end is to stop the mover")
	}
	conns, disconnect := feed.ConnsOf(ctx)
	defer disconnect()
	commands, err := conns.Of(m.client)
	if err != nil {
		return err
	}
	keys := make([]later.Keys, len(m.topics))
	for i, topic := range m.topics {
		if err := conn.CheckHooks(m.client, topic); err != nil {
			return err
		}
		keys[i] = laterKeys(topic)
	}
	w := movingWatch{log: m.config.logger, first: true, topics: make(map[string]*incident)}
	mover := later.NewMover(commands.Client, keys, w.see)
	for {
		wait, err := mover.Round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			conn.Relocate(commands.Client, err)
		}
		w.seeLook(err)
		if w.final != nil {
			return w.final
		}
		w.first = false
		if err != nil {
			wait = task.Recovery.Delay(w.looks.Failures)
		}
		if !task.Sleep(ctx, wait) {
			return nil
		}
	}
}

// movingWatch decides about the log lines of moving, and about its end.
type movingWatch struct {
	log    *slog.Logger
	first  bool // the first round
	looks  incident
	topics map[string]*incident // those that fail
	final  error
}

const movingWhat = "moving entries that are due"

// see notes how a topic was moved.
func (w *movingWatch) see(topic string, moved later.Moved, err error) {
	log := w.log.With("stream", topic)
	if err != nil {
		if w.final == nil && classify(err).Ends(w.first) {
			w.final = fmt.Errorf("stream: %s failed for %s: %w", movingWhat, topic, explain(err))
			return
		}
		trouble := w.topics[topic]
		if trouble == nil {
			trouble = &incident{}
			w.topics[topic] = trouble
		}
		trouble.add(log, movingWhat, explain(err))
		return
	}
	if trouble := w.topics[topic]; trouble != nil {
		trouble.over(log, movingWhat)
		delete(w.topics, topic)
	}
	tellMoved(log, moved)
}

// tellMoved logs the entries that were not moved though they were due.
func tellMoved(log *slog.Logger, moved later.Moved) {
	if n := len(moved.Lost); n > 0 {
		log.Error("entries lost: they are due, but their contents are gone", "entries", n, "ticket", moved.Lost[0])
	}
	if n := len(moved.Kept); n > 0 {
		log.Error("entries are due, and the topic cannot take them; they are tried again in a minute", "entries", n, "ticket", moved.Kept[0], "err", moved.Problem)
	}
}

// seeLook notes how a round has ended.
func (w *movingWatch) seeLook(err error) {
	switch {
	case err == nil && w.looks.Failures > 0:
		w.looks.over(w.log, movingWhat)
		w.looks = incident{}
	case err != nil && classify(err).Ends(w.first):
		w.final = fmt.Errorf("stream: %s failed: %w", movingWhat, explain(err))
	case err != nil:
		w.looks.add(w.log, movingWhat, explain(err))
	}
}
