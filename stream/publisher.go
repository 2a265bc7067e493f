package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
)

// publisher is what a Producer is without its type.
type publisher struct {
	stream   string
	client   redis.UniversalClient
	keyspace string // what the names of the keys for PublishOnce begin with
	config   producerConfig
}

func newPublisher(stream string, client redis.UniversalClient, cfg producerConfig) publisher {
	return publisher{stream: stream, client: client, keyspace: besideStream(stream, ":once:"), config: cfg}
}

// outgoing is an entry on its way.
type outgoing struct {
	pairs []string
	once  bool
	key   string // with once
}

func (p *publisher) publish(ctx context.Context, entry outgoing) (string, error) {
	if err := checkContext(ctx); err != nil {
		return "", p.notWritten(err)
	}
	w, f := new(write), p.frame()
	p.prepare(ctx, w, f, entry, byHash, &argMemory{})
	err := p.client.Process(ctx, w)
	if classify(err).Code == "NOSCRIPT" {
		w = &write{sent: w.sent - 1} // that one did nothing
		p.prepare(ctx, w, f, entry, bySource, &argMemory{})
		err = p.client.Process(ctx, w)
	}
	return p.outcome(ctx, w, err)
}

// checkContext refuses a nil one, over which the client panics. One that is done
// the client sees before it takes a connection, so that nothing is sent.
func checkContext(ctx context.Context) error {
	if ctx == nil {
		return errors.New("there is no context; pass one")
	}
	return nil
}

// outcome is what the caller gets for a write that ended with err.
func (p *publisher) outcome(ctx context.Context, w *write, err error) (string, error) {
	if err == nil {
		if id := w.Val(); id != "" {
			return id, nil
		}
		err = errors.New("the client returned neither a reply nor an error; look at its hooks")
	}
	conn.Relocate(p.client, err)
	if w.certainlyNot(err) {
		return "", p.notWritten(err)
	}
	// The client passes the deadline on to the socket, and says "i/o timeout", a
	// moment before the ctx is done.
	if deadline, has := ctx.Deadline(); has && !time.Now().Before(deadline) && !errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return "", &UnknownWriteError{Stream: p.stream, Err: explain(err)}
}

func (p *publisher) notWritten(err error) error {
	return fmt.Errorf("stream: not written to %s: %w", p.stream, explain(err))
}
