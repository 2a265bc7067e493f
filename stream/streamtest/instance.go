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

// Instance stands for one process of a program that consumes. All its traffic goes through its
// Client and its Store, so that [Instance.Crash] can cut the instance off as kill -9 does.
// Default names of consumers in group mode are an exception: such a name belongs to the process
// of the test, so that the consumer of one instance can get the name of a consumer that has
// crashed, and its entries with it. Give each consumer in group mode a name of its own with
// [millrace/stream.WithConsumerName]. The methods of an Instance are safe for concurrent use.
type Instance struct {
	// Client is the instance's own client, with the options of the client that was given to
	// [NewInstance]. It is closed when the test is over.
	Client redis.UniversalClient

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	crashed bool
	runs    []run
}

// run is a call of Run in the background.
type run struct {
	cancel context.CancelFunc
	done   chan error
}

// errCrashed is the error of each new connection and each call of a store after a crash.
var errCrashed = errors.New("streamtest: the instance has crashed")

// NewInstance returns an instance whose Client has the options of another client, which has to
// be a [redis.Client] or [redis.ClusterClient]; any other type fails the test. When the test is
// over, the instance is stopped, and an error of [Instance.Stop] fails the test.
func NewInstance(t testing.TB, client redis.UniversalClient) *Instance {
	t.Helper()
	i := &Instance{conns: make(map[net.Conn]struct{})}
	switch client := client.(type) {
	case *redis.Client:
		opts := *client.Options()
		opts.Dialer = i.dialer(opts.Dialer)
		opts.PushNotificationProcessor = nil // the present one belongs to the given client
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

// Store returns a store that passes all calls on to the given one until the instance crashes.
// After the crash, all calls fail. The optional interfaces of package offset, such as
// [offset.Resetter], are not passed on. A store that uses the Client needs no such wrapper,
// because the crash cuts it off anyway.
func (i *Instance) Store(store offset.Store) offset.Store {
	return &instanceStore{Store: store, instance: i}
}

// Runnable is a consumer, a [millrace/stream.Runner], or any other type whose Run returns when
// its context is done. An [Instance] runs it.
type Runnable interface {
	Run(ctx context.Context) error
}

// Start calls the Run of each of the given consumers in the background. They run until the
// instance stops or crashes. An instance that has crashed starts nothing.
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

// Stop ends the consumers of the instance in the orderly way, by their contexts. It waits until
// each Run has returned, for 30 seconds at the most, and returns the errors. After Stop, the
// instance can start consumers again. After a crash, Stop only waits for each Run, and returns
// none of their errors.
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

// Crash cuts the instance off, as kill -9 of its process does. Its connections are closed, no
// further command or save reaches Redis or its Store, and no entry is settled or handed back.
// Then the contexts of its consumers end, but Crash does not wait for that. Running handlers
// see their context end. Unlike in a killed process, handlers can go on, and change memory that
// they share with the test.
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

// dialer returns a function that dials like dial, and keeps the connections, so that a crash
// can close them.
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
