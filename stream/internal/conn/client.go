package conn

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/task"
)

// Client is the engine's own client for the commands of a run, reads aside, on the server
// or the cluster of a user's client. The user's client ignores the end of a context
// while it waits for a reply, has timeouts made for other work, and may read from
// replicas; a conn does none of that:
//   - its timeouts are those of a reader, and the deadline of a context counts;
//   - a command whose context ends has AnswerGrace left for its reply;
//   - all its commands go to primaries, and none is sent again by go-redis;
//   - of each server no more than the given number of commands is at work at once, so
//     that a server that stands still holds up no command for another one.
//
// It is made when Run starts and closed when it ends. It is safe for concurrent use.
type Client struct {
	Client  redis.UniversalClient // its commands pass the hooks of the user's, see hooks.go
	cluster *redis.ClusterClient  // the client, where it is one
	atOnce  int
	// end is close's, and whenEnded has a function called then.
	end       context.CancelFunc
	whenEnded func(do func()) (forget func() bool)

	mu      sync.Mutex
	servers map[string]*Server // by address; of a client of one server there is one, ""
	open    map[*commandSocket]struct{}
}

// Server is the state that the commands for one server share.
type Server struct {
	addr string
	// places has something in it for each command at work, moved is when one of them has
	// begun or ended.
	places chan struct{}
	moved  task.Movement
	// Unblocking is held while a read is ended, so that only one is at a time.
	Unblocking task.Lock
}

// AnswerGrace is how long the reply to a command may still take when its context has
// ended. On a server that works it is there by then; to break a command off leaves open
// whether it has run.
const AnswerGrace = 50 * time.Millisecond

// NewClient derives a conn for so many commands at once on each server.
func NewClient(client redis.UniversalClient, atOnce int) (*Client, error) {
	c := &Client{atOnce: atOnce, servers: make(map[string]*Server), open: make(map[*commandSocket]struct{})}
	life, end := context.WithCancel(context.Background())
	c.end = end
	c.whenEnded = func(do func()) func() bool { return context.AfterFunc(life, do) }
	made, err := derive(client, derivation{dialer: c.dialer, connections: atOnce, contexts: true})
	if err != nil {
		c.end()
		return nil, err
	}
	c.Client = made.client
	c.Client.AddHook(Inner{c.outlast})
	switch user := client.(type) {
	case *redis.Client:
		c.Client.AddHook(through(user, c.send))
	case *redis.ClusterClient:
		c.cluster = c.Client.(*redis.ClusterClient)
		c.Client.AddHook(Inner{func(next redis.ProcessHook) redis.ProcessHook { return c.send(sendOnce(next)) }})
	}
	return c, nil
}

// sendOnce has a client of a cluster not send a command again by itself: it would ask a node
// that stands still four times before it looks for another.
func sendOnce(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { return next(ctx, onceCmd{cmd}) }
}

type onceCmd struct{ redis.Cmder }

// NoRetry is asked by go-redis.
func (onceCmd) NoRetry() bool { return true }

// send returns a hook that sends commands with next.
func (c *Client) send(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) (err error) {
		if ctx.Value(sendingKey{}) != nil {
			return next(ctx, cmd) // the user's OnConnect sends it, for a command that has its place
		}
		key := "" // of a command without one go-redis chooses, too
		if c.cluster != nil {
			if keys := keysOf(cmd); len(keys) > 0 {
				key = keys[0]
			}
		}
		s, err := c.ServerOf(ctx, key)
		if err != nil {
			return err
		}
		watchdog := task.WatchdogOf(ctx)
		watchdog.Waits(&s.moved)
		select {
		case s.places <- struct{}{}:
			defer func() {
				<-s.places
				if err == nil || Classify(err).Answered() {
					s.moved.NoteAnswer()
				} else {
					s.moved.Note()
				}
			}()
		case <-ctx.Done():
			return ctx.Err()
		}
		s.moved.Note()
		watchdog.Begin()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		defer c.breakOff(ctx, s.addr)()
		ctx = context.WithValue(ctx, sendingKey{}, true)
		err = next(ctx, cmd)
		for again := 0; contain.IsErr(err, errUnsent) && again < c.atOnce && ctx.Err() == nil; again++ {
			cmd.SetErr(nil)
			err = next(ctx, cmd)
		}
		return err
	}
}

// outlast keeps a panic of the user's hooks and callbacks to the command that they work
// on, and has each command on a goroutine of its own where many are sent. go-redis looks
// into the returned error, so that no method of that error may panic, not even later.
func (c *Client) outlast(next redis.ProcessHook) redis.ProcessHook {
	run := contain.Isolated
	if c.atOnce == 1 {
		run = contain.Caught
	}
	return func(ctx context.Context, cmd redis.Cmder) error {
		return contain.Tame(run(func() error { return next(ctx, cmd) }))
	}
}

type sendingKey struct{}

// ServerOf returns the server that has the key, as far as the client knows.
func (c *Client) ServerOf(ctx context.Context, key string) (*Server, error) {
	addr := ""
	if c.cluster != nil {
		stop := c.breakOff(ctx, "") // it may have to ask first
		node, err := c.cluster.MasterForKey(ctx, key)
		stop()
		if err != nil {
			return nil, err
		}
		addr = node.Options().Addr
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.servers[addr]
	if s == nil {
		s = &Server{addr: addr, places: make(chan struct{}, c.atOnce), Unblocking: task.NewLock()}
		c.servers[addr] = s
	}
	return s, nil
}

// breakOff ends, when ctx is done, the waiting for a server that has been silent for the
// grace; at the address, or at any if that is "". The function that it returns comes
// when the waiting is over. To close the socket is the only way: go-redis does not look
// at a context while it waits for a reply, but for its deadline.
func (c *Client) breakOff(ctx context.Context, addr string) (over func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	ended := make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		silent := time.NewTicker(AnswerGrace)
		defer silent.Stop()
		for {
			select {
			case <-silent.C:
				since := time.Now().Add(-AnswerGrace).UnixNano()
				c.drop(func(s *commandSocket) bool {
					return (addr == "" || s.addr == addr) && s.heard.Load() <= since
				})
			case <-ended:
				return
			}
		}
	})
	return func() {
		forget()
		close(ended)
	}
}

// follow closes connections to servers that are no primaries now.
func (c *Client) follow(primaries []string) {
	if c != nil {
		c.drop(func(s *commandSocket) bool { return !slices.Contains(primaries, s.addr) })
	}
}

// dropIdle closes the connections that wait for no reply. A server that turned out to be
// no primary answers on the others, and says so.
func (c *Client) dropIdle() {
	if c != nil {
		c.drop(func(s *commandSocket) bool { return !s.asking.Load() })
	}
}

// drop closes sockets; the client makes new ones when it needs them.
func (c *Client) drop(which func(*commandSocket) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.open {
		if which(s) {
			s.dropped.Store(true)
			_ = s.Conn.Close()
			delete(c.open, s)
		}
	}
}

// close ends the connections. It does not touch the user's client.
func (c *Client) close() error {
	c.end()
	return c.Client.Close()
}

// dialer returns dial; c keeps the connections that it opens.
func (c *Client) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer c.whenEnded(cancel)()
		raw, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		s := &commandSocket{Conn: raw, owner: c, addr: peerOf(raw, addr)}
		s.heard.Store(time.Now().UnixNano())
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open[s] = struct{}{}
		return s, nil
	}
}

// commandSocket is a connection that knows when something went over it.
type commandSocket struct {
	net.Conn
	owner   *Client
	addr    string // by which its server is known
	heard   atomic.Int64
	asking  atomic.Bool // a command was written, and nothing read since
	dropped atomic.Bool
}

// errUnsent is the failure of a command that found its connection closed by drop, and was
// not sent.
var errUnsent = errors.New("the connection was given up before the command was sent")

func (s *commandSocket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.heard.Store(time.Now().UnixNano())
		s.asking.Store(false)
	}
	return n, err
}

func (s *commandSocket) Write(p []byte) (int, error) {
	if err := s.unsent(); err != nil {
		return 0, err
	}
	s.asking.Store(true)
	s.heard.Store(time.Now().UnixNano())
	return s.Conn.Write(p)
}

func (s *commandSocket) unsent() error {
	if s.dropped.Load() && !s.asking.Load() {
		return errUnsent
	}
	return nil
}

// SetWriteDeadline comes before a command is written, as SetDeadline.
func (s *commandSocket) SetWriteDeadline(t time.Time) error {
	if err := s.unsent(); err != nil {
		return err
	}
	return s.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (s *commandSocket) SetDeadline(t time.Time) error {
	if err := s.unsent(); err != nil {
		return err
	}
	return s.Conn.SetDeadline(t)
}

func (s *commandSocket) Close() error {
	s.owner.mu.Lock()
	delete(s.owner.open, s)
	s.owner.mu.Unlock()
	return s.Conn.Close()
}

// Clients are the conns of a run, or of all runs of a Runner: one for each user's client.
type Clients struct {
	atOnce int

	mu       sync.Mutex
	byClient map[redis.UniversalClient]*Client
}

// NewClients returns no clients yet. Each that is made sends so many commands at once to a
// server.
func NewClients(atOnce int) *Clients {
	return &Clients{atOnce: atOnce, byClient: make(map[redis.UniversalClient]*Client)}
}

// Of returns the conn for a user's client.
func (c *Clients) Of(client redis.UniversalClient) (*Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if made := c.byClient[client]; made != nil {
		return made, nil
	}
	made, err := NewClient(client, c.atOnce)
	if err == nil {
		c.byClient[client] = made
	}
	return made, err
}

// Bind returns a store that sends its commands with a conn for its client, if it lives
// in Redis. The hooks of that are checked as those of the stream's client.
func (c *Clients) Bind(store offset.Store, stream string) (offset.Store, error) {
	bound, ok := store.(offset.Rebinder)
	if !ok {
		return store, nil
	}
	return bound.Rebind(func(client redis.UniversalClient) (redis.UniversalClient, error) {
		if err := CheckHooks(client, stream); err != nil {
			return nil, err
		}
		made, err := c.Of(client)
		if err != nil {
			return nil, err
		}
		return made.Client, nil
	})
}

// Close comes when no command is at work any more.
func (c *Clients) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.byClient {
		_ = one.close() // no command is at work: nothing can be lost in it
	}
	clear(c.byClient)
}

// NetConn is asked by go-redis, which looks before it uses a connection again whether
// the server has closed it.
func (s *commandSocket) NetConn() net.Conn { return s.Conn }

// HashTag returns the part of a key that decides about its cluster slot.
func HashTag(key string) string {
	if _, rest, found := strings.Cut(key, "{"); found {
		if tag, _, found := strings.Cut(rest, "}"); found && tag != "" {
			return tag
		}
	}
	return key
}

// Beside returns a key that is made of another one and a suffix and, in a cluster, in the slot of
// that one, if there is such a key.
func Beside(key, suffix string) string {
	if tagged := "{" + key + "}" + suffix; HashTag(key) == key && HashTag(tagged) == key {
		return tagged
	}
	return key + suffix
}
