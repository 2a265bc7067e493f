package faults_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"millrace/stream/streamtest"
	"millrace/stream/streamtest/history"
)

// kind is a kind of fault.
type kind struct {
	name  string
	often int // of it in about three hundred
	may   effect
	do    func()
}

// effect is what a fault may be seen to have done.
type effect struct {
	history.Fault
	// idles says that what is pending on a consumer may be idle for long enough to be
	// claimed by another.
	idles bool
}

// draw returns n faults in a random order, of each kind at least one.
func draw(dice *rand.Rand, kinds []kind, n int) []kind {
	drawn := slices.Clone(kinds)
	var urn []kind
	for _, k := range kinds {
		for range k.often {
			urn = append(urn, k)
		}
	}
	for len(drawn) < n {
		drawn = append(drawn, urn[dice.IntN(len(urn))])
	}
	dice.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	return drawn
}

// kinds are all there are. Faults of a server or a network repeat nothing as long as
// the consumers live: in log mode the window remembers what was handled until the
// offset is saved, and in group mode until it is acked.
func (s *stand) kinds() []kind {
	var none effect
	emptied := effect{Fault: history.Fault{Loses: true}}
	// What a reader was given, and has never got, it finds after the two seconds and
	// more in which it took the silence for an idle stream. Nobody has handled that.
	silent := effect{idles: true}
	// What outlasts the claim idle time has others claim what was pending on a
	// consumer, when they can reach the server before it does. Of that, what it had
	// handled and not acked yet, or was at work on, is handled again: no more than
	// its window, which was full at the most.
	claimedFromOne, claimedFromAll := effect{idles: true}, effect{idles: true}
	if s.mode == groupMode {
		claimedFromOne.Repeats = standWindow
		claimedFromAll.Repeats = standConsumers * standWindow
	}
	return []kind{
		{"Redis killed", 30, none, func() { s.restart(s.kill) }},
		{"Redis shut down", 15, none, func() { s.restart(s.shutDown) }},
		{"Redis emptied", 20, emptied, s.empty},
		{"Redis frozen", 20, none, func() { s.freeze(s.moment()) }},
		{"Redis frozen beyond the claim idle time", 4, claimedFromAll, func() { s.freeze(standClaimIdle * 7 / 6) }},
		{"DEBUG SLEEP", 12, none, func() { s.command("DEBUG", "SLEEP", s.moment().Seconds()) }},
		{"CLIENT PAUSE", 12, none, s.pauseAll},
		{"CLIENT PAUSE of writes", 12, none, s.pauseWrites},
		{"CLIENT KILL of all connections", 15, none, func() { s.command("CLIENT", "KILL", "USER", string(s.mode)) }},
		{"CLIENT KILL of a reader", 15, none, s.killReader},
		{"OOM", 20, none, func() {
			s.command("CONFIG", "SET", "maxmemory", "1")
			s.refuses("OOM")
			s.lasts(s.moment())
			s.command("CONFIG", "SET", "maxmemory", "0")
		}},
		{"MISCONF", 15, none, s.failSaves},
		{"reply cut", 30, none, func() { s.cut(streamtest.ToClient, 20_000) }},
		{"request cut", 20, none, func() { s.cut(streamtest.ToServer, 2_000) }},
		{"delay", 15, none, func() {
			s.during(func(p *streamtest.Proxy) { p.Delay(time.Duration(s.dice.IntN(50)) * time.Millisecond) }, s.moment())
		}},
		{"requests swallowed", 8, silent, func() { s.during(func(p *streamtest.Proxy) { p.Swallow(streamtest.ToServer) }, s.moment()) }},
		{"replies swallowed", 8, silent, func() { s.during(func(p *streamtest.Proxy) { p.Swallow(streamtest.ToClient) }, s.moment()) }},
		{"black hole", 15, none, func() { s.during((*streamtest.Proxy).BlackHole, s.moment()) }},
		{"black hole beyond the claim idle time", 4, claimedFromOne, func() { s.during((*streamtest.Proxy).BlackHole, standClaimIdle*7/6) }},
		{"reset", 15, none, func() { s.victim().Reset() }},
		{"connections refused", 10, none, func() { s.during((*streamtest.Proxy).Refuse, s.moment()) }},
		{"publisher's reply cut", 10, none, func() { s.publisher.Cut(streamtest.ToClient, int64(s.dice.IntN(200))) }},
		{"publisher reset", 5, none, s.publisher.Reset},
	}
}

// moment is how long a fault lasts that is no longer than consumers bear without
// consequences.
func (s *stand) moment() time.Duration {
	return time.Duration(20+s.dice.IntN(230)) * time.Millisecond
}

func (s *stand) lasts(d time.Duration) { _ = last(context.Background(), d) }

// victim is one of the consumers' proxies.
func (s *stand) victim() *streamtest.Proxy { return s.consumers[s.dice.IntN(len(s.consumers))] }

// command has the server do something.
func (s *stand) command(args ...any) {
	s.t.Helper()
	if err := s.admin.Do(s.t.Context(), args...).Err(); err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
}

// restart ends the server in one way, and starts it again.
func (s *stand) restart(end func()) {
	s.t.Helper()
	s.lookForRefusals()
	end()
	s.server.Start()
}

func (s *stand) kill() { s.server.Kill() }

// shutDown ends the server in the orderly way.
func (s *stand) shutDown() {
	s.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.server.Addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }()
	_ = client.ShutdownNoSave(s.t.Context()).Err() // an answer would be a refusal
	streamtest.Await(s.t, "the server has shut down", func() bool { return client.Ping(s.t.Context()).Err() != nil })
	s.server.Kill() // only to note it
}

// empty restarts the server with nothing. What it had at its end is looked at before,
// while nothing is written.
func (s *stand) empty() {
	s.t.Helper()
	s.restart(func() {
		s.auditPaused()
		s.remember(streamtest.EntryIDs(s.t, s.admin, transfers.Name))
		s.server.Kill()
		s.server.Empty()
		s.ledger.forget()
	})
}

// auditPaused has the server hold back all writes, and looks at what is settled.
func (s *stand) auditPaused() {
	s.t.Helper()
	s.command("CLIENT", "PAUSE", 20_000, "WRITE")
	s.ledger.audit()
}

func (s *stand) freeze(d time.Duration) {
	s.t.Helper()
	s.server.Freeze()
	s.lasts(d)
	s.server.Thaw()
}

func (s *stand) pauseAll() {
	s.t.Helper()
	d := s.moment()
	s.command("CLIENT", "PAUSE", d.Milliseconds(), "ALL")
	s.lasts(d)
}

func (s *stand) pauseWrites() {
	s.t.Helper()
	s.auditPaused()
	s.command("CLIENT", "UNPAUSE")
}

// killReader ends the connection that a consumer reads with, in the middle of a read
// if there is one.
func (s *stand) killReader() {
	s.t.Helper()
	streamtest.Await(s.t, "a reader is killed", func() bool {
		list, err := s.admin.ClientList(s.t.Context()).Result()
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(list) {
			if !strings.Contains(line, "cmd=xread") {
				continue
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
			return s.admin.ClientKillByFilter(s.t.Context(), "ID", id).Val() > 0
		}
		return false
	})
}

// refuses waits until the server refuses writes, with a word.
func (s *stand) refuses(word string) {
	s.t.Helper()
	streamtest.Await(s.t, "writes are refused: "+word, func() bool {
		err := s.admin.Set(s.t.Context(), "probe", "", time.Second).Err()
		return err != nil && strings.HasPrefix(err.Error(), word)
	})
}

// failSaves has the server fail to save its data, for which it refuses writes.
func (s *stand) failSaves() {
	s.t.Helper()
	dir, err := s.admin.ConfigGet(s.t.Context(), "dir").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	const name = "occupied" // by a folder
	if err := os.MkdirAll(filepath.Join(dir["dir"], name), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.command("CONFIG", "SET", "dbfilename", name, "save", "3600 1")
	s.command("BGSAVE")
	s.refuses("MISCONF")
	s.lasts(s.moment())
	s.command("CONFIG", "SET", "save", "")
}

// cut cuts a connection of a consumer in the middle of what comes in a direction, and
// waits until that has happened.
func (s *stand) cut(dir streamtest.Direction, within int) {
	s.t.Helper()
	proxy := s.victim()
	before := proxy.Stats()
	proxy.Cut(dir, int64(s.dice.IntN(within)))
	streamtest.Await(s.t, "a connection is cut", func() bool {
		now := proxy.Stats()
		return now.Open < before.Open || now.Accepted > before.Accepted
	})
}

// during has something happen to a consumer's connections for a time.
func (s *stand) during(begin func(*streamtest.Proxy), d time.Duration) {
	s.t.Helper()
	proxy := s.victim()
	begin(proxy)
	s.lasts(d)
	proxy.Pass()
}
