package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"millrace/codec"
)

// reader is a connection of its own to read with. It exists because a blocking
// read must neither take a connection out of the user's pool nor outlive a
// cancel: go-redis does not look at the context of a command that waits for
// its reply, so the only way to end it at once is to close the socket under it
// (measured: 0.1 ms, where waiting for the read takes the block time).
//
// Its client tries nothing again by itself. A retry below us would hide a
// broken connection, and in group mode the entries of a reply that was lost.
type reader struct {
	redis.UniversalClient
	sockets *sockets
	// clientID is what the server calls the connection, 0 if it does not say.
	clientID atomic.Int64
}

// newReader derives a reader from the user's client, one that knows its client ID
// if it is to be identified. When ctx is done it opens no new connection; those it
// has are closed with [sockets.close].
func newReader(ctx context.Context, client redis.UniversalClient, identified bool) (*reader, error) {
	r := &reader{sockets: &sockets{open: make(map[*socket]struct{})}}
	identify := func(own onConnect) onConnect {
		if !identified {
			return own
		}
		return func(ctx context.Context, conn *redis.Conn) error {
			r.clientID.Store(conn.ClientID(ctx).Val())
			if own == nil {
				return nil
			}
			return own(ctx, conn)
		}
	}
	switch client := client.(type) {
	case *redis.Client:
		opts := *client.Options()
		opts.Dialer = r.sockets.dialer(ctx, opts.Dialer)
		opts.OnConnect = identify(opts.OnConnect)
		opts.PoolSize, opts.MinIdleConns, opts.PipelinePoolSize = 1, 0, -1
		opts.MaxRetries, opts.DialerRetries = -1, 1
		opts.ReadTimeout, opts.WriteTimeout = given(opts.ReadTimeout), given(opts.WriteTimeout)
		opts.ClientSideCacheConfig, opts.ClientSideCache = nil, nil
		opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		r.UniversalClient = redis.NewClient(&opts)
	case *redis.ClusterClient:
		opts := *client.Options()
		if opts.Dialer == nil { // unlike a single client's options, these keep it unset
			opts.Dialer = redis.NewDialer(&redis.Options{DialTimeout: opts.DialTimeout, TLSConfig: opts.TLSConfig})
		}
		opts.Dialer = r.sockets.dialer(ctx, opts.Dialer)
		opts.OnConnect = identify(opts.OnConnect)
		opts.PoolSize, opts.MinIdleConns = 1, 0
		opts.MaxRetries, opts.DialerRetries = -1, 1
		opts.ReadTimeout, opts.WriteTimeout = given(opts.ReadTimeout), given(opts.WriteTimeout)
		// A replica may be behind, or cut off from its master without saying so.
		opts.ReadOnly, opts.RouteByLatency, opts.RouteRandomly = false, false, false
		opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		r.UniversalClient = redis.NewClusterClient(&opts)
	default:
		return nil, fmt.Errorf("stream: no reader can be made from a %T", client)
	}
	return r, nil
}

// Close ends the reader's connections. It does not touch the user's client.
func (r *reader) Close() error {
	r.sockets.close()
	return r.UniversalClient.Close()
}

// entriesOf makes entries of what a read of one stream has returned, none of the
// answer that there were none in time.
func entriesOf(reply []redis.XStream, err error, deliveries int64) ([]Entry, error) {
	if errors.Is(err, redis.Nil) || (err == nil && len(reply) == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(reply[0].Messages))
	for i, message := range reply[0].Messages {
		entries[i] = Entry{Stream: reply[0].Stream, ID: message.ID, Fields: codec.Fields(message.Values), Deliveries: deliveries}
	}
	return entries, nil
}

// given undoes what go-redis made of a timeout when it took in the options: it
// stores "none" as 0, which in new options would mean the default.
func given[D ~int64](timeout D) D {
	if timeout == 0 {
		return -1
	}
	return timeout
}

type onConnect = func(ctx context.Context, conn *redis.Conn) error

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// sockets keeps every connection that a client has open, so that all can be
// closed at once.
type sockets struct {
	mu     sync.Mutex
	open   map[*socket]struct{}
	closed bool
}

// dialer returns dial, with what it opens kept in s. Both contexts can end the
// dialling: go-redis gives one of its own, which knows nothing of ours.
func (s *sockets) dialer(run context.Context, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(run, cancel)()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return s.keep(conn)
	}
}

func (s *sockets) keep(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	kept := &socket{Conn: conn, owner: s}
	s.open[kept] = struct{}{}
	return kept, nil
}

// close closes all sockets and refuses new ones.
func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for kept := range s.open {
		_ = kept.Conn.Close()
	}
	clear(s.open)
}

// socket is a connection that its owner forgets when it is closed.
type socket struct {
	net.Conn
	owner *sockets
}

func (s *socket) Close() error {
	s.owner.mu.Lock()
	delete(s.owner.open, s)
	s.owner.mu.Unlock()
	return s.Conn.Close()
}
