package faults_test

import (
	"context"
	"fmt"
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

// heard reports whether the party has told something.
func (p *party) heard(s *stage) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.scenario.trouble == "" {
		return len(p.losses) > 0
	}
	return slices.ContainsFunc(p.troubles, func(one stream.Outage) bool {
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
