package faults_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

// state is what a consumer does while entries are lost behind its back.
type state string

const (
	idle    state = "idle"    // everything was handled
	busy    state = "busy"    // its window is full, and there is more behind it
	stopped state = "stopped" // it is started again afterwards
)

// scenario is a way to lose entries, or a place in a stream, of which Redis says
// nothing to who reads on.
type scenario struct {
	name string
	// harm does it, behind entries that were handled, 1 to known.
	harm func(*stage)
	// want is the loss that is to be told, by mode and state. Where there is none,
	// silent says why: nobody can know.
	want   map[mode]map[state]func(*stage, *party) stream.LossError
	silent map[mode]map[state]string
	// trouble is what an event that is no loss says instead.
	trouble string
	// outside keeps the offsets in another place than the same Redis.
	outside bool
	// crash has a stopped consumer leave without a word, with entries pending.
	crash bool
	// more is how many entries more are handled before it happens.
	more int
	// patient is set if a consumer that is busy tells while it is.
	patient bool
}

// known is how many entries have been handled when it happens.
const known = 20

// id is that of the nth entry.
func id(n int) string { return fmt.Sprintf("%d-0", 1000+n) }

// stage is a server on which a scenario is played, for consumers in one state.
type stage struct {
	testing.TB
	scenario *scenario
	state    state
	server   *streamtest.Redis
	admin    *redis.Client
	parties  []*party
	n        int // entries that were added
}

// party is a consumer in one mode.
type party struct {
	*trial
	consumer *stream.Consumer[transfer]
	instance *streamtest.Instance
	open     chan struct{} // closed when its handler may go on
	position string        // of what it has read when it happens
}

// newStage starts a server and consumers, has them handle known entries, and
// brings them into the state.
func newStage(t testing.TB, sc *scenario, st state, modes []mode) *stage {
	t.Helper()
	s := &stage{TB: t, scenario: sc, state: st, server: streamtest.StartRedis(t, withUsers(t, transfers.Name)...)}
	s.admin = s.server.Client()
	s.add(s.admin, known)
	for _, m := range modes {
		p := &party{trial: newTrial(t, m), open: make(chan struct{})}
		p.handle = func(ctx context.Context, msg *stream.Message[transfer]) error {
			if st == idle || msg.Value.Number < known+sc.more {
				return nil
			}
			select {
			case <-p.open:
			case <-ctx.Done():
			}
			return ctx.Err()
		}
		if sc.outside {
			p.store = &offset.Memory{}
		}
		s.parties = append(s.parties, p)
		p.start(s)
	}
	for _, p := range s.parties {
		p.await(s, id(known))
	}
	s.add(s.admin, sc.more)
	for _, p := range s.parties {
		p.await(s, id(known+sc.more))
		if st == stopped && !sc.crash {
			if err := p.instance.Stop(); err != nil {
				t.Fatal(err)
			}
		}
	}
	switch {
	case st == busy:
		s.add(s.admin, 2600) // the windows have 2001 and 1001
	case sc.crash:
		s.add(s.admin, 5)
	}
	for _, p := range s.parties {
		var since time.Time
		streamtest.Await(t, "nothing more is read", func() bool {
			stats := p.consumer.Stats()
			if stats.Position != p.position { // what was sent for before may come yet
				p.position, since = stats.Position, time.Now()
			}
			switch {
			case st == busy:
				return stats.Window > stats.WindowSize-500 && time.Since(since) > 50*time.Millisecond
			case sc.crash:
				return stats.Window == 5
			}
			return true
		})
		if sc.crash {
			p.instance.Crash()
		}
	}
	return s
}

// start runs the consumer, once more if it has run.
func (p *party) start(s *stage) {
	if p.consumer == nil || s.scenario.crash {
		p.instance = streamtest.NewInstance(s, as(s, string(p.mode), *s.admin.Options()))
		p.consumer = p.trial.consumer(p.instance.Client, "one")
	}
	p.instance.Start(p.consumer)
}

// await waits until an entry was handled and settled.
func (p *party) await(s *stage, last string) {
	s.Helper()
	streamtest.Await(s, fmt.Sprintf("%s: the %s consumer has handled %s", s, p.mode, last), func() bool {
		stats := p.consumer.Stats()
		return stats.Position == last && stats.Window == 0
	})
}

func (s *stage) String() string { return fmt.Sprintf("%s, %s", s.scenario.name, s.state) }

// add adds entries with the next numbers and IDs.
func (s *stage) add(client redis.Cmdable, n int) {
	s.Helper()
	pipe, exec := client.(redis.Pipeliner)
	if !exec {
		pipe = client.Pipeline()
	}
	for range n {
		s.addAs(pipe, id(s.n+1))
	}
	if !exec {
		s.exec(pipe)
	}
}

// addAs adds the next entry under another ID.
func (s *stage) addAs(client redis.Cmdable, id string) {
	s.n++
	client.XAdd(s.Context(), &redis.XAddArgs{Stream: transfers.Name, ID: id, Values: []any{"number", s.n - 1, "account", "a", "secret", canary}})
}

func (s *stage) exec(pipe redis.Pipeliner) {
	s.Helper()
	if _, err := pipe.Exec(s.Context()); err != nil {
		s.Fatalf("%s: %v", s, err)
	}
}

// atOnce does something in one step, so that nobody reads in between, and behind
// entries that nobody has read: in the busy state there are some.
func (s *stage) atOnce(unread int, do func(tx redis.Pipeliner)) {
	s.Helper()
	tx := s.admin.TxPipeline()
	if s.state != busy {
		s.add(tx, unread)
	}
	do(tx)
	s.exec(tx)
}

// unknown is a loss of which no number is known.
func unknown(cause stream.LossCause, from, to string) stream.LossError {
	return stream.LossError{Cause: cause, From: from, To: to, Count: -1}
}

// all returns want for the states of a mode.
func all(want func(*stage, *party) stream.LossError, states ...state) map[state]func(*stage, *party) stream.LossError {
	m := make(map[state]func(*stage, *party) stream.LossError)
	for _, st := range states {
		m[st] = want
	}
	return m
}

// behindPosition returns want for the states of a mode: a loss behind what the
// consumer has read, of which no number is known.
func behindPosition(cause stream.LossCause, to string, states ...state) map[state]func(*stage, *party) stream.LossError {
	return all(func(_ *stage, p *party) stream.LossError { return unknown(cause, p.position, to) }, states...)
}

// noMemory is why a group that is made anew at the start says nothing.
const noMemory = "the group was all that there was to know it by"

// number is the n of an id.
func number(id string) (n int) {
	_, _ = fmt.Sscanf(id, "%d-0", &n)
	return n - 1000
}

var scenarios = []scenario{
	{
		name: "entries are trimmed unread",
		harm: func(s *stage) {
			s.atOnce(30, func(tx redis.Pipeliner) { tx.XTrimMaxLen(s.Context(), transfers.Name, 5) })
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: {
				idle: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n), Count: 25, Exact: true}
				},
				busy: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: int64(s.n - 5 - number(p.position)), Exact: true}
				},
				stopped: func(s *stage, p *party) stream.LossError { // how many were trimmed before, nobody knows
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: known + 25}
				},
			},
			groupMode: {
				idle: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n), Count: 25, Exact: true}
				},
				busy: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: int64(s.n - 5 - number(p.position)), Exact: true}
				},
				stopped: func(s *stage, p *party) stream.LossError { // after a restart of Redis, its count can be an old one
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: 25}
				},
			},
		},
	},
	{
		name: "entries are deleted unread",
		harm: func(s *stage) {
			s.atOnce(10, func(tx redis.Pipeliner) { tx.XDel(s.Context(), transfers.Name, id(s.n-6), id(s.n-5), id(s.n-4)) })
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: {
				idle: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: id(known), To: id(s.n), Count: 3, Exact: true}
				},
				busy: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: id(known), To: id(s.n), Count: 3, Exact: true}
				},
				stopped: func(s *stage, p *party) stream.LossError {
					return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: 3}
				},
			},
			groupMode: all(func(s *stage, p *party) stream.LossError {
				return stream.LossError{Cause: stream.LossTrimmed, From: p.position, To: id(s.n - 4), Count: 3}
			}, busy, stopped),
		},
		silent: map[mode]map[state]string{
			groupMode: {idle: "nobody could have read them, and the counters of the group say that somebody has"},
		},
	},
	{
		name: "a pending entry is deleted",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.XDel(s.Context(), transfers.Name, id(s.n-2)) })
		},
		crash: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: all(func(s *stage, _ *party) stream.LossError {
				return stream.LossError{Cause: stream.LossPending, From: id(s.n - 2), To: id(s.n - 2), Count: 1, Exact: true}
			}, stopped),
		},
	},
	{
		name: "the stream is deleted, and made again",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.Del(s.Context(), transfers.Name); s.add(tx, 5) })
		},
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: all(func(s *stage, p *party) stream.LossError {
				return unknown(stream.LossRecreated, p.position, id(s.n-4))
			}, idle, busy, stopped),
			groupMode: all(func(s *stage, p *party) stream.LossError {
				return unknown(stream.LossRecreated, p.position, id(s.n-4))
			}, idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name:    "FLUSHALL",
		harm:    func(s *stage) { s.atOnce(0, func(tx redis.Pipeliner) { tx.FlushAll(s.Context()) }) },
		outside: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode:   behindPosition(stream.LossRecreated, "", idle, busy, stopped),
			groupMode: behindPosition(stream.LossRecreated, "", idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name:    "the stream is evicted",
		harm:    evict,
		outside: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode:   behindPosition(stream.LossRecreated, "", idle, busy, stopped),
			groupMode: behindPosition(stream.LossRecreated, "", idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name: "the offset is ahead of another stream",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.Del(s.Context(), transfers.Name); s.addLower(tx, 5) })
		},
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: behindPosition(stream.LossAhead, "1-0", idle, busy, stopped),
		},
	},
	{
		name: "another stream, with XSETID forward",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) {
				tx.Del(s.Context(), transfers.Name)
				s.addLower(tx, 5)
				tx.Do(s.Context(), "XSETID", transfers.Name, id(s.n+1000))
			})
		},
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: behindPosition(stream.LossReplaced, "1-0", idle, busy, stopped),
		},
	},
	{
		name: "XGROUP SETID forward",
		harm: func(s *stage) {
			s.atOnce(10, func(tx redis.Pipeliner) { tx.XGroupSetID(s.Context(), transfers.Name, group, id(s.n)) })
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: all(func(s *stage, p *party) stream.LossError {
				// What it had read after it looked last, it does not know to be read.
				most := min(max(p.losses[0].Count, int64(s.n-number(p.position))), int64(s.n-known))
				return stream.LossError{Cause: stream.LossMoved, From: p.position, To: id(s.n), Count: most}
			}, idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: "the group's place was all that there was to know it by"}},
	},
	{
		name: "XGROUP SETID ahead of the stream",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.XGroupSetID(s.Context(), transfers.Name, group, id(9_999_999)) })
			s.add(s.admin, 10)
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: {
				idle: func(s *stage, p *party) stream.LossError {
					return unknown(stream.LossAhead, id(9_999_999), id(known+1))
				},
				busy: func(s *stage, p *party) stream.LossError {
					return unknown(stream.LossAhead, id(9_999_999), id(number(p.position)+1))
				},
				stopped: func(s *stage, p *party) stream.LossError {
					return unknown(stream.LossAhead, id(9_999_999), id(1))
				},
			},
		},
	},
	{
		name: "the clock goes back after FLUSHALL",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.FlushAll(s.Context()); s.addLower(tx, 5) })
		},
		outside: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode:   behindPosition(stream.LossAhead, "1-0", idle, busy, stopped),
			groupMode: behindPosition(stream.LossRecreated, "1-0", idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name: "XGROUP DELCONSUMER, with entries pending",
		harm: func(s *stage) {
			s.atOnce(0, func(tx redis.Pipeliner) { tx.XGroupDelConsumer(s.Context(), transfers.Name, group, "one") })
		},
		patient: true,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: all(func(s *stage, p *party) stream.LossError {
				return unknown(stream.LossConsumer, id(known+1), p.position)
			}, busy),
		},
		silent: map[mode]map[state]string{groupMode: {idle: "nothing is pending", stopped: "what is pending on it was all that there was to know it by"}},
	},
	{
		name: "XGROUP DESTROY",
		harm: func(s *stage) {
			s.atOnce(5, func(tx redis.Pipeliner) { tx.XGroupDestroy(s.Context(), transfers.Name, group) })
		},
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			groupMode: all(func(s *stage, p *party) stream.LossError {
				return unknown(stream.LossGroup, p.position, id(number(p.position)+1))
			}, idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: noMemory}},
	},
	{
		name:    "a demoted master answers",
		harm:    func(s *stage) { s.admin.Do(s.Context(), "REPLICAOF", "127.0.0.1", "1") },
		trouble: "replica",
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode:   all(nil, idle, busy, stopped),
			groupMode: all(nil, idle, busy, stopped),
		},
	},
	{
		name:    "a restart with a truncated AOF",
		harm:    truncate,
		outside: true,
		more:    10,
		want: map[mode]map[state]func(*stage, *party) stream.LossError{
			logMode: all(func(_ *stage, p *party) stream.LossError {
				return unknown(stream.LossAhead, p.position, id(1))
			}, idle, busy, stopped),
			groupMode: all(func(_ *stage, p *party) stream.LossError {
				return unknown(stream.LossAhead, p.position, id(1))
			}, idle, busy),
		},
		silent: map[mode]map[state]string{groupMode: {stopped: "the group's place has gone back with the stream"}},
	},
}

// addLower adds entries with the IDs that a clock gives which has gone back.
func (s *stage) addLower(client redis.Cmdable, n int) {
	for i := range n {
		s.addAs(client, fmt.Sprintf("%d-0", i+1))
	}
}

// evict has the server run out of memory.
func evict(s *stage) {
	config := func(name, value string) {
		if err := s.admin.ConfigSet(s.Context(), name, value).Err(); err != nil {
			s.Fatal(err)
		}
	}
	config("maxmemory-policy", "allkeys-lru")
	config("maxmemory", "1")
	err := s.admin.Set(s.Context(), "other", "key", 0).Err()
	config("maxmemory", "0")
	// It is the only key that there is; the group may have been made again already.
	if info := s.admin.Info(s.Context(), "stats").Val(); !redis.IsOOMError(err) || strings.Contains(info, "evicted_keys:0\r") {
		s.Fatalf("%s: the stream was not evicted: %v", s, err)
	}
}

// truncate restarts the server without the last entries that it had acknowledged,
// which is what can be left of the file after a power cut.
func truncate(s *stage) {
	dir := s.admin.ConfigGet(s.Context(), "dir").Val()["dir"]
	files, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		s.Fatalf("the append-only files are %v, %v", files, err)
	}
	log, err := os.ReadFile(files[0])
	if err != nil {
		s.Fatal(err)
	}
	s.server.Kill()
	// In the middle of the command that has added this one.
	at := strings.Index(string(log), id(known+5))
	if err := os.Truncate(files[0], int64(at)+3); err != nil {
		s.Fatal(err)
	}
	s.server.Start()
	if n := s.admin.XLen(s.Context(), transfers.Name).Val(); n != known+4 {
		s.Fatalf("%s: the stream has %d entries after the restart", s, n)
	}
}

// heard reports whether the party has told something.
func (p *party) heard(s *stage) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.scenario.trouble == "" {
		return len(p.losses) > 0
	}
	return slices.ContainsFunc(p.troubles, func(one stream.Trouble) bool {
		return strings.Contains(one.Err.Error(), s.scenario.trouble)
	})
}

// Everything that takes entries away from a consumer, or the consumer's place, is
// told, whatever the consumer does at that time, with its cause, its range and its
// number as far as they can be known; and what the stream has is handled.
func TestSilentLosses(t *testing.T) {
	t.Parallel()
	// All scenarios are played at a time, and waited for together: a consumer that
	// has nothing to do looks around every half minute.
	var stages []*stage
	for i := range scenarios {
		for _, st := range []state{idle, busy, stopped} {
			if modes := scenarios[i].modes(st); len(modes) > 0 {
				stages = append(stages, newStage(t, &scenarios[i], st, modes))
			}
		}
	}
	for _, s := range stages {
		s.scenario.harm(s)
		for _, p := range s.parties {
			if s.state == stopped {
				p.start(s)
			}
			if s.state == stopped || !s.scenario.patient || p.mode == logMode {
				close(p.open)
			}
		}
	}
	// What is missing then, verify says.
	awaitFor(time.Minute, func() bool {
		for _, s := range stages {
			for _, p := range s.parties {
				if !p.heard(s) {
					return false
				}
			}
		}
		return true
	})
	for _, s := range stages {
		s.goOn()
	}
	t.Log("\n" + table(stages))
	for _, s := range stages {
		for _, p := range s.parties {
			t.Run(fmt.Sprintf("%s/%s/%s", s.scenario.name, p.mode, s.state), func(t *testing.T) { p.verify(t, s) })
		}
	}
}

// modes returns those in which the scenario is played in a state.
func (sc *scenario) modes(st state) (modes []mode) {
	for _, m := range []mode{logMode, groupMode} {
		if _, ok := sc.want[m][st]; ok {
			modes = append(modes, m)
		}
	}
	return modes
}

// awaitFor waits for as long as that until a condition holds.
func awaitFor(d time.Duration, holds func() bool) {
	tick, deadline := time.NewTicker(10*time.Millisecond), time.NewTimer(d)
	defer tick.Stop()
	defer deadline.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		}
	}
}

// goOn ends the trouble, and adds a few entries more.
func (s *stage) goOn() {
	s.Helper()
	if s.scenario.trouble != "" {
		if err := s.admin.Do(s.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
			s.Fatal(err)
		}
	}
	for _, p := range s.parties {
		if s.state != stopped && s.scenario.patient && p.mode != logMode {
			close(p.open)
		}
	}
	pipe, n := s.admin.Pipeline(), s.n
	for range 3 {
		s.addAs(pipe, "*")
	}
	s.exec(pipe)
	s.n = n // what is wanted is said in it
}

// verify looks at what a party has told, in all places, and whether it goes on.
func (p *party) verify(t *testing.T, s *stage) {
	if !p.heard(s) {
		t.Fatalf("nothing was told; the log is\n%s", p.journal.String())
	}
	left := streamtest.EntryIDs(t, s.admin, transfers.Name)
	told := 0
	if s.scenario.trouble == "" {
		told = 1
		want := s.scenario.want[p.mode][s.state](s, p)
		want.Stream, want.Label = transfers.Name, transfers.Name
		if p.mode == groupMode {
			want.Label, want.Group = "", group
		}
		got := *p.losses[0]
		if got != want {
			t.Errorf("told\n%+v, want\n%+v", got, want)
		}
		if got.Cause == stream.LossMoved { // these are there, and left out
			left = slices.DeleteFunc(left, func(id string) bool {
				return number(id) > number(got.From) && number(id) <= number(got.To)
			})
		}
		if n := p.consumer.Stats().Lost; n != max(1, got.Count) {
			t.Errorf("%d entries are counted as lost, of a loss of %d", n, got.Count)
		}
		if !slices.ContainsFunc(strings.Split(p.journal.String(), "\n"), func(line string) bool {
			return (strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN")) && strings.Contains(line, "lost")
		}) {
			t.Errorf("the log does not say so:\n%s", p.journal.String())
		}
	}
	p.rec.AwaitHandled(left) // if not, the check says so
	if err := p.instance.Stop(); err != nil {
		t.Error(err)
	}
	p.mu.Lock()
	if len(p.losses) != told {
		t.Errorf("%d losses were told, want %d: %v", len(p.losses), told, p.losses)
	}
	p.mu.Unlock()
	events, err := p.rec.Events()
	if err != nil {
		t.Fatal(err)
	}
	found, err := history.Rules{}.Check(events, left)
	if err != nil {
		t.Fatal(err)
	}
	for _, verdict := range []history.Verdict{history.Lost, history.Silent, history.MovedBack} {
		if of := found.Of(verdict); len(of) > 0 {
			t.Error(of)
		}
	}
	p.journal.expectNoCanary(t)
	for _, refusal := range refusals(t, s.admin) {
		t.Error("refused: ", refusal)
	}
}

// table is what was told, and where nothing can be.
func table(stages []*stage) string {
	var b strings.Builder
	row := func(sc *scenario, m mode, st state, what string) {
		fmt.Fprintf(&b, "%-42s  %-5s  %-7s  %s\n", sc.name, m, st, what)
	}
	fmt.Fprintf(&b, "%-42s  %-5s  %-7s  event | range | count\n", "scenario", "mode", "state")
	for i := range scenarios {
		sc := &scenarios[i]
		for _, m := range []mode{logMode, groupMode} {
			for _, st := range []state{idle, busy, stopped} {
				if why, ok := sc.silent[m][st]; ok {
					row(sc, m, st, "- "+why)
				}
			}
		}
		for _, s := range stages {
			for _, p := range s.parties {
				if s.scenario == sc {
					row(sc, p.mode, s.state, p.event(s))
				}
			}
		}
	}
	return b.String()
}

func (p *party) event(s *stage) string {
	if !p.heard(s) {
		return "SILENT"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.scenario.trouble != "" {
		return fmt.Sprintf("Trouble: %s | %v", p.troubles[0].What, p.troubles[0].Err)
	}
	told := p.losses[0]
	count := "unknown"
	switch {
	case told.Exact:
		count = fmt.Sprint(told.Count)
	case told.Count >= 0:
		count = fmt.Sprint("at most ", told.Count)
	}
	return fmt.Sprintf("%s | %s to %s | %s", told.Cause, told.From, told.To, count)
}
