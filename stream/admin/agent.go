package admin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream"
	"millrace/stream/internal/contain"
	"millrace/stream/internal/task"
)

const (
	// controlEvery is how often an agent looks at the orders.
	controlEvery = time.Second
	// registerEvery is how often it renews the records of its topics.
	registerEvery = 10 * time.Minute
)

// Agent makes the consumers of a [stream.Runner] visible to an [Admin] in another process, and
// has them obey its orders: to pause, to go on, and to go to another place. It is a
// [stream.Runnable], usually a member of that Runner; [NewAgent] makes one. One Run is allowed at
// a time.
//
// The consumers are those members, of nested Runners too, that have the methods of a
// [stream.Consumer]. They may come and go.
//
// An agent asks the server once a second for the orders, whatever the number of consumers, and
// every five seconds writes a record of its process that expires after fifteen. Trouble with the
// server does not end Run: it is logged when it begins, every half minute, and when it is over,
// and the consumers go on as they were told last; a pause ends by itself.
//
// The client's user needs the Redis rights
//
//	~<keyspace>:* +hgetall +hget +hset +hdel +get +mget +set +del +eval +evalsha +time
//
// and the consumers those of [stream.Consumer.Seek].
type Agent struct {
	admin   *Admin
	runner  *stream.Runner
	id      string
	started time.Time

	running sync.Mutex // held by Run, which is the only user of the fields below
	steered map[Reader][]*steered
	renewed time.Time // when the Presence was written last
	listed  time.Time // when the topics were registered last
	streams []string  // that were
	wake    chan struct{}
	trouble task.Incident
}

// NewAgent makes an agent for the members of a Runner. It does no I/O and starts nothing. The
// options are those of [New]; the keyspace has to be that of the admins. Everything that is
// wrong comes back in one error, each problem wrapping [stream.ErrInvalidOption].
func NewAgent(client redis.UniversalClient, runner *stream.Runner, opts ...Option) (*Agent, error) {
	admin, err := New(client, opts...)
	if runner == nil {
		err = errors.Join(err, fmt.Errorf("%w: runner: give the Runner whose consumers are to be seen", stream.ErrInvalidOption))
	}
	if err != nil {
		return nil, err
	}
	return &Agent{admin: admin, runner: runner, id: rand.Text()}, nil
}

// consumer is a member that an agent can see and steer.
type consumer interface {
	visible
	steerable
}

type visible interface {
	Identity() stream.Identity
	Stats() stream.Stats
	Health() stream.Health
}

type steerable interface {
	Pause(reason string, until time.Time) error
	Resume()
	Seek(ctx context.Context, to stream.Start) error
	Reposition(ctx context.Context) error
}

// String names the agent in the log of a Runner.
func (a *Agent) String() string { return "the agent of " + a.admin.keyspace.process(a.id) }

// Run shows the consumers and has them obey until ctx is done, and returns nil then. The record
// of the process is removed.
func (a *Agent) Run(ctx context.Context) error {
	if ctx == nil {
		return errors.New("admin: Run was given no context; pass the one whose end is to stop the agent")
	}
	if !a.running.TryLock() {
		return stream.ErrRunning
	}
	defer a.running.Unlock()
	a.started, a.steered, a.renewed, a.listed = time.Now(), map[Reader][]*steered{}, time.Time{}, time.Time{}
	a.wake = make(chan struct{}, 1)
	seeking, stop := context.WithCancel(ctx)
	var seeks sync.WaitGroup
	defer func() {
		stop()
		seeks.Wait()
		a.leave(context.WithoutCancel(ctx))
	}()
	look := time.NewTicker(controlEvery)
	defer look.Stop()
	for {
		a.note(ctx, a.round(ctx, func(s *steered, order *SeekOrder) {
			seeks.Go(func() { a.seek(seeking, s, order) })
		}))
		select {
		case <-look.C:
		case <-a.wake: // a consumer has obeyed
			a.renewed = time.Time{}
		case <-ctx.Done():
			return nil
		}
	}
}

// note logs the trouble of a round.
func (a *Agent) note(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		if a.trouble.Note(time.Now(), "") {
			a.admin.log().Error("the agent cannot reach its records: its consumers go on as they were told last", "err", err, "failures", a.trouble.Failures)
		}
	case a.trouble.Failures > 0:
		a.admin.log().Info("the agent reaches its records again", "failures", a.trouble.Failures, "after", time.Since(a.trouble.Since).Round(time.Millisecond))
		a.trouble = task.Incident{}
	}
}

// round looks at the orders, has the consumers obey, and writes the records that are due. seek
// begins a seek, which takes its time.
func (a *Agent) round(ctx context.Context, seek func(*steered, *SeekOrder)) error {
	a.meet()
	if len(a.steered) > 0 {
		controls, skew, err := a.controls(ctx)
		if err != nil {
			return err
		}
		for reader, list := range a.steered {
			control := controls[controlField(reader)]
			for _, s := range list {
				if s.obeyPause(control.Paused, skew) {
					a.renewed = time.Time{}
				}
				if order := s.begin(control.Seek); order != nil {
					seek(s, order)
				}
			}
		}
	}
	if time.Since(a.renewed) < presenceEvery {
		return nil
	}
	if err := a.register(ctx); err != nil {
		return err
	}
	return a.renew(ctx)
}

// meet finds the consumers that there are now.
func (a *Agent) meet() {
	known := a.steered
	a.steered = make(map[Reader][]*steered, len(known))
	for member := range a.runner.Members() {
		c, is := member.(consumer)
		if !is || contain.IsNil(member) {
			continue
		}
		id := c.Identity()
		r := Reader{Stream: id.Stream, Group: id.Group, Label: id.Label}
		at := slices.IndexFunc(known[r], func(s *steered) bool { return s.consumer == c })
		one := &steered{consumer: c, reader: r}
		if at >= 0 {
			one = known[r][at]
		}
		a.steered[r] = append(a.steered[r], one)
	}
}

// controls returns the orders, and by how much the clock of the server is ahead of ours.
func (a *Agent) controls(ctx context.Context) (map[string]Control, time.Duration, error) {
	key := a.admin.keyspace.control()
	texts, err := a.admin.client.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, 0, explain("reading "+key, err)
	}
	var skew time.Duration
	controls := make(map[string]Control, len(texts))
	for field, text := range texts {
		// A record that cannot be read is no order. The admin tells of it.
		if control, err := decodeRecord[Control](key, field, text); err == nil {
			controls[field] = control
		}
	}
	if len(texts) > 0 {
		now, err := a.admin.client.Time(ctx).Result()
		if err != nil {
			return nil, 0, explain("asking the server for its time", err)
		}
		skew = time.Until(now)
	}
	return controls, skew, nil
}

// renew writes the record of the process.
func (a *Agent) renew(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	now := time.Now()
	p := Presence{Host: host, PID: os.Getpid(), Version: version(), Started: MillisOf(a.started), Renewed: MillisOf(now)}
	for _, list := range a.steered {
		for _, s := range list {
			p.Consumers = append(p.Consumers, s.presence())
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("admin: writing the record of the process: %w", err)
	}
	keys := a.admin.keyspace
	_, err = a.admin.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, keys.process(a.id), text, presenceLasts)
		pipe.HSet(ctx, keys.processes(), a.id, now.UnixMilli())
		return nil
	})
	if err != nil {
		return explain("writing the record of the process", err)
	}
	a.renewed = now
	return nil
}

// version returns the version of the program, as its build has it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value[:min(12, len(setting.Value))]
		}
	}
	return "" // a build from a folder, without a version
}

// register writes the records of the topics, when there are others and now and then, and
// forgets processes that have ended without a word.
func (a *Agent) register(ctx context.Context) error {
	readers := map[string][]string{}
	for r := range a.steered {
		readers[r.Stream] = append(readers[r.Stream], r.Address())
	}
	var streams []string
	for name, addresses := range readers {
		slices.Sort(addresses)
		streams = append(streams, name+"\x00"+fmt.Sprint(addresses))
	}
	slices.Sort(streams)
	if slices.Equal(streams, a.streams) && time.Since(a.listed) < registerEvery {
		return nil
	}
	now := time.Now()
	for name, addresses := range readers {
		err := a.admin.edit(ctx, a.admin.keyspace.topics(), name, func(text string) (string, error) {
			var record Registered
			_ = json.Unmarshal([]byte(text), &record) // one that cannot be read is replaced
			record.Readers = slices.Compact(slices.Sorted(slices.Values(append(record.Readers, addresses...))))
			record.Seen = MillisOf(now)
			next, err := json.Marshal(record)
			return string(next), err
		})
		if err != nil {
			return err
		}
	}
	if err := a.forget(ctx, now); err != nil {
		return err
	}
	a.streams, a.listed = streams, now
	return nil
}

// forget removes the names of processes that have not renewed their record for long.
func (a *Agent) forget(ctx context.Context, now time.Time) error {
	key := a.admin.keyspace.processes()
	seen, err := a.admin.client.HGetAll(ctx, key).Result()
	if err != nil {
		return explain("reading "+key, err)
	}
	var gone []string
	for id, text := range seen {
		var at int64
		if _, err := fmt.Sscan(text, &at); err != nil || now.Sub(time.UnixMilli(at)) > registerEvery {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return explain("writing to "+key, a.admin.client.HDel(ctx, key, gone...).Err())
}

// leave removes the record of the process.
func (a *Agent) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, controlEvery)
	defer cancel()
	keys := a.admin.keyspace
	_, _ = a.admin.client.Pipelined(ctx, func(pipe redis.Pipeliner) error { // else it expires
		pipe.Del(ctx, keys.process(a.id))
		pipe.HDel(ctx, keys.processes(), a.id)
		return nil
	})
}
