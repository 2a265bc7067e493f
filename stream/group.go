package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/codec"
)

// groupSource is group mode: XREADGROUP, and a number of workers that each take
// an entry, process it, and take the next. Everything that is pending on this
// consumer is in its holdings, so that nothing is begun twice, and so that it can
// be kept (see lease.go) and handed back.
type groupSource struct {
	engine  *engine
	group   string
	name    string // of the consumer
	release func()
	reader  *reader
	held    *holdings
	// unblock ends a read that blocks, once. The end of the run's context calls
	// it, unless forget is called before.
	unblock func()
	forget  func() bool

	// reading is set while a read is on its way.
	reading atomic.Bool

	// The reading goroutine's own.

	// astray is set when Redis may have given us entries that never arrived: at
	// the start, and after a read that failed.
	astray, begun bool
	// last is the ID of the last entry that was read.
	last string
}

func openGroup(group string) func(context.Context, *engine) (source, error) {
	return func(ctx context.Context, e *engine) (source, error) {
		s := &groupSource{engine: e, group: group, name: e.consumerName, release: func() {}, held: newHoldings(), astray: true}
		if s.name == "" {
			s.name, s.release = takeName(e.stream, group)
		}
		reader, err := newReader(ctx, e.client, true)
		if err != nil {
			s.release()
			return nil, err
		}
		s.reader = reader
		s.unblock = sync.OnceFunc(s.unblockReader)
		s.forget = context.AfterFunc(ctx, s.unblock)
		return s, nil
	}
}

func (s *groupSource) log() *slog.Logger {
	return s.engine.log().With("consumer", s.name)
}

// start makes the group if it is missing.
func (s *groupSource) start(ctx context.Context) error {
	e := s.engine
	from := beginning
	switch {
	case e.start.end:
		from = "$" // looked up by the server, once, when the group is made
	case e.start.after != nil:
		from = *e.start.after
	}
	err := e.client.XGroupCreateMkStream(ctx, e.stream, s.group, from).Err()
	made := err == nil
	if err != nil && !hasCode(err, "BUSYGROUP") {
		return fmt.Errorf("making the group %q: %w", s.group, err)
	}
	groups, err := e.client.XInfoGroups(ctx, e.stream).Result()
	if err != nil {
		return fmt.Errorf("looking up the group %q: %w", s.group, err)
	}
	for _, group := range groups {
		if group.Name == s.group {
			s.last = group.LastDeliveredID
			s.log().Info("consumer started", "made_group", made, "last_delivered", s.last)
			return nil
		}
	}
	return fmt.Errorf("the group %q vanished while it was looked up", s.group)
}

// fetch reads new entries into the holdings, when there is room for a batch and
// nothing older waits to be begun. It returns none: workers take them from there.
func (s *groupSource) fetch(ctx context.Context) ([]Entry, error) {
	e := s.engine
	if s.astray {
		if err := s.adopt(ctx); err != nil {
			return nil, s.mend(ctx, err)
		}
		s.astray, s.begun = false, true
	}
	if !s.held.awaitRoom(ctx, e.batchSize, s.window()) {
		return nil, ctx.Err()
	}
	s.reading.Store(true)
	defer s.reading.Store(false)
	if ctx.Err() != nil { // after reading was set, or unblock could miss this read
		return nil, ctx.Err()
	}
	at := time.Now()
	reply, err := s.reader.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: s.group, Consumer: s.name, Streams: []string{e.stream, ">"},
		Count: int64(e.batchSize), Block: e.block,
	}).Result()
	if errors.Is(err, redis.Nil) || (err == nil && len(reply) == 0) {
		return nil, nil
	}
	if err != nil {
		s.astray = true
		return nil, s.mend(ctx, err)
	}
	messages := reply[0].Messages
	entries := make([]Entry, len(messages))
	for i, message := range messages {
		entries[i] = Entry{Stream: e.stream, ID: message.ID, Fields: codec.Fields(message.Values), Deliveries: 1}
		s.last = message.ID
	}
	s.held.addRead(entries, at)
	return nil, nil
}

// window is how many entries are held at the most: a batch that is read ahead of
// the one that is processed, and what the workers have.
func (s *groupSource) window() int { return 2*s.engine.batchSize + s.engine.concurrency }

// adopt takes in what is pending on this consumer's name and not held. At the
// start that is what a process before us has left; later it is what the reply of
// a read would have brought that never came, and has not been tried.
func (s *groupSource) adopt(ctx context.Context) error {
	from, adopted := "-", 0
	for {
		at := time.Now()
		pending, err := s.engine.client.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: s.engine.stream, Group: s.group, Consumer: s.name, Start: from, End: "+", Count: 500,
		}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("listing what is pending on this consumer: %w", err)
		}
		ids := make([]string, len(pending))
		for i, entry := range pending {
			ids[i] = entry.ID
			// Its idle time counts from its delivery, not from now.
			at = minTime(at, time.Now().Add(-entry.Idle))
		}
		adopted += s.held.addTaken(ids, s.begun, at)
		if len(pending) < 500 {
			break
		}
		from = after(ids[len(ids)-1])
	}
	if adopted > 0 {
		s.log().Info("took up entries that were pending on this consumer", "entries", adopted)
	}
	return nil
}

// mend makes the group again if err says that it is gone, and returns err
// otherwise. The same words can also mean that a cluster has moved the stream to
// another node; then the group is there when it is looked for.
func (s *groupSource) mend(ctx context.Context, err error) error {
	if !groupGone(err) {
		return err
	}
	e := s.engine
	s.held.suspect()
	s.astray = true
	// If the stream is still the one we have read from, it goes on behind the
	// last entry that was read here; others may be further, so that entries can
	// come again. If it is not, everything in it is new.
	from := beginning
	if s.last != beginning {
		witness, err := e.client.XRange(ctx, e.stream, s.last, s.last).Result()
		if err != nil {
			return fmt.Errorf("looking for the last entry that was read: %w", err)
		}
		if len(witness) > 0 {
			from = s.last
		}
	}
	made := e.client.XGroupCreateMkStream(ctx, e.stream, s.group, from).Err()
	if hasCode(made, "BUSYGROUP") {
		return err // somebody was faster, or it had only moved: the next read works
	}
	if made != nil {
		return fmt.Errorf("making the group %q again: %w", s.group, made)
	}
	s.last = from
	s.log().Warn("the group was gone and has been made again: what was pending on consumers that do not run any more is lost", "from", from, "err", err)
	return nil
}

// groupGone reports whether an error says that the stream or the group does not
// exist: Redis 7.0 says the former to a blocked reader, every version the latter
// to others.
func groupGone(err error) bool {
	text := err.Error()
	return strings.Contains(text, "NOGROUP") || strings.Contains(text, "UNBLOCKED the stream key no longer exists")
}

// process runs the workers until the reader has ended.
func (s *groupSource) process(ctx, handling context.Context, batches <-chan []Entry) error {
	var workers, keeper sync.WaitGroup
	for range s.engine.concurrency {
		workers.Go(func() {
			for lost := true; lost; {
				lost = s.work(ctx, handling)
			}
		})
	}
	// The entries of a handler that outlasts the stop must be kept too.
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	keeper.Go(func() { s.keep(keeping) })
	// Nothing more is begun once the consumer stops, even while the reader ends.
	defer context.AfterFunc(ctx, s.held.stop)()
	for range batches {
		// None come this way; the channel is closed when the reader has ended.
	}
	s.held.stop()
	workers.Wait()
	stopKeeping()
	keeper.Wait()
	return nil
}

// work processes one entry after another, until stopping is done. It returns
// earlier, with true, if an entry was lost: one context serves many entries, and
// that one has used it up.
func (s *groupSource) work(stopping, handling context.Context) (lost bool) {
	ctx, lose := context.WithCancelCause(handling)
	defer lose(nil)
	for stopping.Err() == nil {
		one := s.held.next(false, lose)
		if one == nil {
			s.ack(handling, 1) // nothing to do: a good time
			if one = s.held.next(true, lose); one == nil {
				return false
			}
		}
		if one.entry == nil {
			// It may be what made a consumer crash: what is done is acked before,
			// or it would be charged with that crash as well, and in the end be
			// over the limit without a fault of its own.
			s.ack(handling, 1)
		}
		s.deliver(ctx, one)
		s.ack(handling, s.engine.batchSize)
		if ctx.Err() != nil {
			return true
		}
	}
	return false
}

// deliver processes one entry, and decides where it goes.
func (s *groupSource) deliver(ctx context.Context, one *held) {
	e := s.engine
	if one.entry == nil && !s.begin(ctx, one) {
		return
	}
	entry := one.entry
	entry.exhausted = e.maxDeliveries > 0 && entry.Deliveries > e.maxDeliveries
	failure := e.chain(ctx, entry)
	switch {
	case context.Cause(ctx) == ErrClaimed: //nolint:errorlint // our own, never wrapped
		s.log().Warn("entry given up while it was processed: another consumer has it; its result does not count", "entry_id", one.id, "attempt", entry.Deliveries)
		s.held.end(one, broken)
		return
	case failure == nil:
		s.held.end(one, done)
		return
	}
	acked, taken := false, false
	outcome, err := e.conclude(ctx, entry, failure, func(dead *DeadLetterError) error {
		err := e.writeDeadLetter(ctx, entry, dead, DeadLetterGroup, s.group, func(ctx context.Context, letter deadLetter) (bool, error) {
			reply, err := e.moveOnServer(ctx, moveAndAckScript, letter, s.group, s.name, one.id)
			acked = reply == "moved"
			taken = reply == "lost" && !s.held.isSuspect(one)
			return acked || taken, err
		})
		if taken {
			return ErrClaimed
		}
		return err
	})
	switch {
	case err != nil || outcome == interrupted:
		s.held.end(one, broken)
	case outcome == passed && acked:
		s.held.forget(one)
	case outcome == passed:
		s.held.end(one, done)
	case entry.exhausted && e.discard:
		s.log().Error("entry discarded: it is over the limit of deliveries, and no dead-letter middleware took it", "entry_id", one.id, "attempt", entry.Deliveries)
		s.held.end(one, done)
	case entry.exhausted:
		s.log().Error("entry left pending: it is over the limit of deliveries, and no dead-letter middleware took it", "entry_id", one.id, "attempt", entry.Deliveries)
		s.held.end(one, parked)
	default:
		one.due = time.Now().Add(e.backoff.Delay(entry.Deliveries))
		one.deliveries = entry.Deliveries
		s.held.end(one, waiting)
	}
}

// begin fetches an entry that is delivered again, and counts the delivery. It
// reports false if there is nothing to deliver.
func (s *groupSource) begin(ctx context.Context, one *held) bool {
	e := s.engine
	charge := 1
	if one.free {
		charge = 0
	}
	var outcome string
	err := e.persist(ctx, "fetching an entry to deliver it again", func(ctx context.Context) error {
		at := time.Now()
		reply, err := beginScript.Run(ctx, e.client, []string{e.stream}, s.group, s.name, one.id, charge).Slice()
		switch {
		case err != nil && groupGone(err):
			// The reader makes the group again, but may be waiting for us.
			s.held.suspect()
			outcome = "lost"
			return nil
		case err != nil:
			return err
		}
		outcome, _ = reply[0].(string)
		if outcome == "ours" {
			count, _ := reply[1].(int64)
			pairs, _ := reply[2].([]any)
			one.entry = &Entry{Stream: e.stream, ID: one.id, Fields: fieldsOf(pairs), Deliveries: count}
			one.free = false
			s.held.touch([]string{one.id}, at)
		}
		return nil
	}, false)
	switch {
	case err != nil: // stopped
		s.held.end(one, unread)
		return false
	case outcome == "ours":
		return true
	case outcome == "lost" && s.held.isSuspect(one):
		return s.beginUnowned(ctx, one)
	case outcome == "gone":
		s.log().Warn("entry lost: it is pending, but the stream no longer has it", "entry_id", one.id)
	default:
		s.log().Info("entry given up before it was processed: another consumer has it", "entry_id", one.id)
	}
	s.held.forget(one)
	return false
}

// beginUnowned fetches an entry whose group has gone, and with it the note that
// the entry is ours. Nobody else knows of it either, so it is processed as long
// as the stream has it.
func (s *groupSource) beginUnowned(ctx context.Context, one *held) bool {
	e := s.engine
	var found []redis.XMessage
	err := e.persist(ctx, "fetching an entry to deliver it again", func(ctx context.Context) (err error) {
		found, err = e.client.XRange(ctx, e.stream, one.id, one.id).Result()
		return err
	}, false)
	switch {
	case err != nil:
		s.held.end(one, unread)
		return false
	case len(found) == 0:
		s.log().Warn("entry lost: the stream no longer has it", "entry_id", one.id)
		s.held.forget(one)
		return false
	}
	one.entry = &Entry{Stream: e.stream, ID: one.id, Fields: codec.Fields(found[0].Values), Deliveries: one.deliveries + 1}
	return true
}

func fieldsOf(pairs []any) codec.Fields {
	fields := make(codec.Fields, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		fields[name] = pairs[i+1]
	}
	return fields
}

// ack acks what is done if that is at least n entries, and tries until it has
// succeeded or ctx is done.
func (s *groupSource) ack(ctx context.Context, n int) {
	list := s.held.takeDone(n)
	if len(list) == 0 {
		return
	}
	err := s.engine.persist(ctx, "acking entries", func(ctx context.Context) error { return s.ackOnce(ctx, list) }, false)
	if err != nil {
		s.held.returnDone(list)
		return
	}
	s.held.forget(list...)
}

// ackOnce acks entries that are still ours. XACK itself does not ask: late, it
// would end an entry that another consumer is at work on.
func (s *groupSource) ackOnce(ctx context.Context, list []*held) error {
	e := s.engine
	ids, late := s.held.split(list, time.Now().Add(-e.claimIdle/2))
	if len(late) > 0 {
		lost, _, err := s.renew(ctx, late)
		if err != nil && !groupGone(err) { // without a group there is nobody to take anything from
			return err
		}
		for _, id := range late {
			if lost[id] {
				s.log().Warn("entry finished, but another consumer has claimed it; the result does not count", "entry_id", id)
			} else {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return e.client.XAck(ctx, e.stream, s.group, ids...).Err()
}

// stop acks what is done, hands back what is not, and leaves the group.
func (s *groupSource) stop(ctx context.Context) error {
	e := s.engine
	fail := func(err error) error {
		return fmt.Errorf("stream: stopped, but what is pending on consumer %q of group %q could not be settled or handed back; it will be claimed when it has been idle for %v: %w", s.name, s.group, e.claimIdle, err)
	}
	if list := s.held.takeDone(1); len(list) > 0 {
		if err := s.ackOnce(ctx, list); err != nil && !groupGone(err) {
			return fail(err)
		}
		s.held.forget(list...)
	}
	args := append([]any{s.group, s.name, handedBack}, s.held.charged()...)
	for {
		n, err := handBackScript.Run(ctx, e.client, []string{e.stream}, args...).Int()
		if err != nil {
			if groupGone(err) {
				return nil // there is nothing to hand back, and nothing to leave
			}
			return fail(err)
		}
		if n == 0 {
			break
		}
	}
	if err := leaveScript.Run(ctx, e.client, []string{e.stream}, s.group, s.name).Err(); err != nil && !groupGone(err) {
		return fail(err)
	}
	return nil
}

func (s *groupSource) interrupt() { s.unblock() }

func (s *groupSource) close() error {
	s.forget()
	s.release() // not before the stop: another consumer may take the name now
	return s.reader.Close()
}

// unblockTimeout is how long a read may take to come back by itself.
const unblockTimeout = 100 * time.Millisecond

// unblockReader ends a blocking read in a way that loses nothing: CLIENT UNBLOCK lets
// it return, with the entries that it may have got at that very moment. Closing
// the socket under it, the last resort, would leave those pending on us without
// anybody knowing.
func (s *groupSource) unblockReader() {
	ctx, cancel := context.WithTimeout(context.Background(), unblockTimeout)
	defer cancel()
	defer s.reader.sockets.close()
	id := s.reader.clientID.Load()
	if id == 0 {
		return
	}
	node, err := nodeOf(ctx, s.engine.client, s.engine.stream)
	if err != nil {
		return
	}
	for s.reading.Load() {
		if node.ClientUnblock(ctx, id).Err() != nil || !sleep(ctx, time.Millisecond) {
			return
		}
	}
}

// nodeOf returns the client of the server that has the key.
func nodeOf(ctx context.Context, client redis.UniversalClient, key string) (redis.UniversalClient, error) {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return client, nil
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
