package streamtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
)

// Instance stands for one process of a program that consumes: what it has to do
// with the world goes through its Client and its Store, so that [Instance.Crash]
// can cut it off as kill -9 does. One thing all instances of a test share: the name
// that a consumer in group mode has by default. Give each instance's a name with
// [millrace/stream.WithConsumerName]. The methods of an Instance are safe for
// concurrent use.
type Instance struct {
	// Client is the instance's own, like the one that it was made from. It is
	// closed when the test is over.
	Client redis.UniversalClient

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	crashed bool
	runs    []run
}

// run is a Run in the background.
type run struct {
	cancel context.CancelFunc
	done   chan error
}

// errCrashed is what an instance that has crashed is told.
var errCrashed = errors.New("streamtest: the instance has crashed")

// NewInstance returns an instance whose Client has the options of another one,
// which has to be a [redis.Client] or [redis.ClusterClient]. What it runs is
// stopped when the test is over.
func NewInstance(t testing.TB, client redis.UniversalClient) *Instance {
	t.Helper()
	i := &Instance{conns: make(map[net.Conn]struct{})}
	switch client := client.(type) {
	case *redis.Client:
		opts := *client.Options()
		opts.Dialer = i.dialer(opts.Dialer)
		opts.PushNotificationProcessor = nil // the one that is there has been set up for that client
		i.Client = redis.NewClient(&opts)
	case *redis.ClusterClient:
		opts := *client.Options()
		if opts.Dialer == nil { // unlike a single client's options, these keep it unset
			opts.Dialer = redis.NewDialer(&redis.Options{DialTimeout: opts.DialTimeout, TLSConfig: opts.TLSConfig})
		}
		opts.Dialer = i.dialer(opts.Dialer)
		opts.PushNotificationProcessor = nil
		i.Client = redis.NewClusterClient(&opts)
	default:
		t.Fatalf("an instance cannot be made from a %T", client)
	}
	t.Cleanup(func() {
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
		_ = i.Client.Close()
	})
	return i
}

// Store returns a store that is the given one until the instance crashes, and
// fails from then on. A store that lives in the Client is cut off anyway.
func (i *Instance) Store(store offset.Store) offset.Store {
	return &instanceStore{Store: store, instance: i}
}

// Runnable is what an [Instance] runs: a consumer, a [millrace/stream.Runner], or
// anything else that runs until its context is done.
type Runnable interface {
	Run(ctx context.Context) error
}

// Start runs consumers, or whatever else runs until its context is done, in the
// background, each until the instance stops or crashes. One that has crashed
// starts nothing.
func (i *Instance) Start(consumers ...Runnable) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.crashed {
		return
	}
	for _, consumer := range consumers {
		ctx, cancel := context.WithCancel(context.Background())
		r := run{cancel: cancel, done: make(chan error, 1)}
		go func() { r.done <- consumer.Run(ctx) }()
		i.runs = append(i.runs, r)
	}
}

// Stop ends what the instance runs in the orderly way, by its context, waits
// until it has returned, and returns the errors. More can be started then. Of an
// instance that has crashed it only waits for the remains.
func (i *Instance) Stop() error {
	i.mu.Lock()
	runs := i.runs
	i.runs = nil
	i.mu.Unlock()
	for _, r := range runs {
		r.cancel()
	}
	deadline := time.After(awaitTimeout)
	var errs []error
	for _, r := range runs {
		select {
		case err := <-r.done:
			if err != nil && !i.hasCrashed() {
				errs = append(errs, err)
			}
		case <-deadline:
			return fmt.Errorf("streamtest: Run has not returned %v after its context ended", awaitTimeout)
		}
	}
	return errors.Join(errs...)
}

// Crash cuts the instance off, as kill -9 of its process does: its connections
// are closed, nothing more that it says reaches Redis or its Store, and nothing is
// settled or handed back. Then the contexts of what it runs end, but Crash does
// not wait for that. Handlers that are at work see their context end; unlike in a
// process that was killed they can go on and act on the memory that they share
// with the test.
func (i *Instance) Crash() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.crashed = true
	for conn := range i.conns {
		_ = conn.Close()
	}
	clear(i.conns)
	for _, r := range i.runs {
		r.cancel()
	}
}

func (i *Instance) hasCrashed() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.crashed
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer returns dial, with what it opens kept, to be closed by a crash.
func (i *Instance) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if i.hasCrashed() {
			return nil, errCrashed
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.crashed {
			_ = conn.Close()
			return nil, errCrashed
		}
		i.conns[conn] = struct{}{}
		return &instanceConn{Conn: conn, instance: i}, nil
	}
}

// instanceConn is a connection that its instance forgets when it is closed.
type instanceConn struct {
	net.Conn
	instance *Instance
}

func (c *instanceConn) Close() error {
	c.instance.mu.Lock()
	delete(c.instance.conns, c.Conn)
	c.instance.mu.Unlock()
	return c.Conn.Close()
}

type instanceStore struct {
	offset.Store
	instance *Instance
}

func (s *instanceStore) Load(ctx context.Context, label string) (string, bool, error) {
	if s.instance.hasCrashed() {
		return "", false, errCrashed
	}
	return s.Store.Load(ctx, label)
}

func (s *instanceStore) Save(ctx context.Context, label, id string) error {
	if s.instance.hasCrashed() {
		return errCrashed
	}
	return s.Store.Save(ctx, label, id)
}
