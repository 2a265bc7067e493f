package conn

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/resp"
)

// Reader is a connection of its own to read with. It exists because a blocking
// read must neither take a connection out of the user's pool nor outlive a
// cancel: go-redis does not look at the context of a command that waits for
// its reply, so the only way to end it at once is to close the socket under it
// (measured: 0.1 ms, where waiting for the read takes the block time).
//
// It also reads the entries itself, where go-redis would (see [capture]).
//
// Its client tries nothing again by itself. A retry below us would hide a
// broken connection, and in group mode the entries of a reply that was lost.
type Reader struct {
	// Its commands pass the hooks of the user's client, see hooks.go.
	redis.UniversalClient
	Sockets *sockets
	masters mastersFunc
	// Commands is the connection for commands, which is to find a new primary when the
	// reader does; it may be nil.
	Commands *Client
	// ConnID is the number that the server calls the connection, or unidentified; 0 before there
	// is one.
	ConnID atomic.Int64
}

// Unidentified is the client ID of a connection of which the server does not say it.
const Unidentified = -1

// NewReader derives a reader from the user's client, for reads that wait for at most
// the block time, one that knows its client ID if it is to be identified. When ctx is
// done it opens no new connection; those it has are closed with [sockets.close].
func NewReader(ctx context.Context, client redis.UniversalClient, block time.Duration, identified bool) (*Reader, error) {
	r := &Reader{Sockets: &sockets{open: make(map[*socket]struct{}), drops: make(map[string]drops), silence: block + Patience}}
	own := derivation{connections: 1, dialer: func(dial dialFunc) dialFunc { return r.Sockets.dialer(ctx, dial) }}
	if identified {
		own.identify = r.identify
	}
	made, err := derive(client, own)
	if err != nil {
		return nil, err
	}
	r.UniversalClient, r.masters = made.client, made.masters
	switch user := client.(type) {
	case *redis.Client:
		r.AddHook(through(user, func(next redis.ProcessHook) redis.ProcessHook { return next }))
	case *redis.ClusterClient:
		r.AddHook(Inner{readsOnce})
	}
	return r, nil
}

// identify returns an OnConnect that notes the server's ID of the connection.
func (r *Reader) identify(user onConnect) onConnect {
	return func(ctx context.Context, conn *redis.Conn) error {
		id, err := conn.ClientID(ctx).Result()
		if err != nil {
			id = Unidentified
		}
		r.ConnID.Store(id)
		if user == nil {
			return nil
		}
		return user(ctx, conn)
	}
}

// Close ends the reader's connections. It does not touch the user's client.
func (r *Reader) Close() error {
	r.Sockets.Close()
	return r.UniversalClient.Close()
}

// Read is XREAD, of no more than is wanted. No batch and no error mean that there was
// nothing in time.
func (r *Reader) Read(ctx context.Context, args *redis.XReadArgs, want resp.Budgets) ([]resp.Batch, error) {
	defer r.follow(ctx)()
	r.Sockets.wanted.Store(&want)
	r.Sockets.cut.Store(nil)
	reply, err := r.XRead(ctx, args).Result()
	return r.brought(reply, err, want)
}

// ReadGroup is XREADGROUP, as read is XREAD.
func (r *Reader) ReadGroup(ctx context.Context, args *redis.XReadGroupArgs, want resp.Budgets) ([]resp.Batch, error) {
	defer r.follow(ctx)()
	r.Sockets.wanted.Store(&want)
	r.Sockets.cut.Store(nil)
	reply, err := r.XReadGroup(ctx, args).Result()
	return r.brought(reply, err, want)
}

// brought returns the entries of a read: those that a socket has caught, of which
// go-redis knows nothing, or those that go-redis has read itself, see [capture].
func (r *Reader) brought(reply []redis.XStream, err error, want resp.Budgets) ([]resp.Batch, error) {
	caught := r.Sockets.caught.Swap(nil)
	if errors.Is(err, redis.Nil) {
		if caught == nil {
			return nil, nil
		}
		return *caught, nil
	}
	if err != nil {
		Relocate(r.UniversalClient, err)
		if cut := r.Sockets.cut.Swap(nil); cut != nil {
			cut.Err = err
			err = cut
		}
		return nil, err
	}
	return resp.BatchesOf(reply, want), nil
}

// readsOnce has a client of a cluster not send a read of a group again by itself, as it
// does when a connection has failed: what the first one has brought would be pending
// here without anybody knowing.
func readsOnce(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "xreadgroup" {
			cmd = onceCmd{cmd}
		}
		return next(ctx, cmd)
	}
}

// Only returns the batch of the one stream that was asked for.
func Only(batches []resp.Batch, err error) (resp.Batch, error) {
	if err != nil || len(batches) == 0 {
		return resp.Batch{}, err
	}
	return batches[0], nil
}

// AnswerTimeout is how long a reader waits at the most for a connection, or for an
// answer other than to a read. A server that stands still and comes back is asked
// again as soon after that.
const AnswerTimeout = time.Second

// stateInterval is how old what a reader knows of a cluster may be when it is asked
// to read. go-redis does not look anew because a node cannot be reached: by default
// it would go on dialling a primary that is dead for up to a minute, though another
// has long taken over.
const stateInterval = time.Second

// atMost returns the timeout, or the shorter one that is enough for a reader.
func atMost(timeout time.Duration) time.Duration {
	if timeout <= 0 {
		return AnswerTimeout
	}
	return min(timeout, AnswerTimeout)
}

// watched is a connection that fails when nothing comes for too long. go-redis would
// wait for ten seconds longer than the server may take, and a connection whose other
// end is gone without a word would look like an idle stream for that time. What
// counts is the silence: a reply that is large, and slow, goes on.
type watched struct {
	net.Conn
	silence time.Duration
}

func (w watched) Read(p []byte) (int, error) {
	if err := w.SetReadDeadline(time.Now().Add(w.silence)); err != nil {
		return 0, err
	}
	return w.Conn.Read(p)
}

// given undoes what go-redis made of a timeout when it took in the options: it
// stores "none" as 0, which in new options would mean the default.
func given[D ~int64](timeout D) D {
	if timeout == 0 {
		return -1
	}
	return timeout
}

type mastersFunc = func(context.Context) ([]string, error)

type onConnect = func(ctx context.Context, conn *redis.Conn) error

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// sockets keeps every connection that a client has open, so that all can be
// closed at once.
type sockets struct {
	mu     sync.Mutex
	open   map[*socket]struct{}
	closed bool
	// reads is the number of the current read, ended of the last one that was ended, and
	// dials are the dials on their way.
	reads, ended int
	dials        map[*context.CancelFunc]struct{}
	// drops are those because of no master, by address.
	drops map[string]drops
	// silence is how long nothing may come while a read is on its way.
	silence time.Duration
	// Eager reports whether a read may be sent before it is asked for; nil is never.
	Eager func() bool
	exchange
}

// dialer returns dial, whose connections are kept in s. Both contexts can end the
// dialling: go-redis gives one of its own, which knows nothing of ours.
func (s *sockets) dialer(run context.Context, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(run, cancel)()
		defer s.noteDial(&cancel)()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			if s.isReadEnded() {
				return closedConn(), nil
			}
			return nil, err
		}
		return s.keep(conn, addr)
	}
}

// closedConn returns a connection that fails at the first use. An error of the dialer in
// its place would keep go-redis from dialling again for a second.
func closedConn() net.Conn {
	conn, peer := net.Pipe()
	_, _ = conn.Close(), peer.Close()
	return conn
}

// noteDial keeps the cancel function of a dial until the function that it returns is
// called.
func (s *sockets) noteDial(cancel *context.CancelFunc) (forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isReadEndedLocked() {
		(*cancel)()
	}
	if s.dials == nil {
		s.dials = make(map[*context.CancelFunc]struct{})
	}
	s.dials[cancel] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.dials, cancel)
	}
}

// BeginRead returns the number of a read that begins, for EndRead. The reads of a reader
// follow each other.
func (s *sockets) BeginRead() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return s.reads
}

// EndRead ends a read, unless another one has begun since: the sockets are closed, and
// until the next read begins the dials end, and their sockets are closed. A read may be on
// its way without a socket, and would get one later.
func (s *sockets) EndRead(read int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if read != s.reads {
		return
	}
	s.ended = read
	for cancel := range s.dials {
		(*cancel)()
	}
	s.dropLocked()
}

func (s *sockets) isReadEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isReadEndedLocked()
}

func (s *sockets) isReadEndedLocked() bool { return s.reads > 0 && s.ended == s.reads }

func (s *sockets) keep(conn net.Conn, addr string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if s.isReadEndedLocked() {
		_ = conn.Close()
		return conn, nil // as closedConn does
	}
	kept := &socket{capture: newCapture(conn, s), owner: s, addr: peerOf(conn, addr)}
	s.open[kept] = struct{}{}
	return kept, nil
}

// Close closes all sockets and refuses new ones.
func (s *sockets) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.drop()
}

// drop closes all sockets; the client makes new ones when it needs them.
func (s *sockets) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked()
}

func (s *sockets) dropLocked() {
	for kept := range s.open {
		_ = kept.Conn.Close()
	}
	clear(s.open)
}

// socket is a connection that its owner forgets when it is closed.
type socket struct {
	*capture
	owner *sockets
	addr  string // by which its server is known
}

func (s *socket) Close() error {
	s.owner.mu.Lock()
	delete(s.owner.open, s)
	s.owner.mu.Unlock()
	return s.Conn.Close()
}

// Patience is how much longer than it should a read may take.
const Patience = 2 * time.Second
