package stream

import (
	"time"

	"millrace/offset"
	"millrace/stream/internal/window"
)

// Stats are the numbers of a consumer at one moment: the work that it has done and has in hand.
// Counts are of all Runs of the consumer since it was constructed; nothing sets them back. No
// field value is in it, so that it may be published.
//
// The words for the outcomes of an entry, with the counter of each and whether the entry
// is settled, so that it is not delivered again:
//
//	handled      Handled       settled   the handler returned nil
//	absorbed     Absorbed      settled   it could not be decoded, and no middleware took it
//	skipped      Skipped       settled   [Skip]: it was of no concern
//	dead letter  DeadLettered  settled   it was written to the dead-letter stream
//	discarded    Discarded     settled   over [WithMaxDeliveries], with [WithDiscard]
//	held         Failed, Held  not yet   it failed, and is delivered again after a back-off
//	parked       Parked        not yet   over [WithMaxDeliveries], left pending (group mode)
//	postponed    Postponed     not yet   [RetryAfter]: it comes back later (group mode)
//	handed back  HandedBack    not yet   pending at the end of Run, given to other consumers
//	claimed      Claimed       not yet   taken over from a consumer that died or stopped
//	lost         Lost          never     Redis no longer has it
//
// Held and Parked are numbers of entries at this moment, the others are counts.
type Stats struct {
	// Since is when the Run at work began, zero while there is none.
	Since time.Time

	// Position is the ID of the last entry that was read, or behind which reading
	// began; empty before that.
	Position string
	// Settled is the offset that was saved, or found, last: everything up to there is done. It
	// is empty in group mode, where Redis keeps the entries that are not.
	Settled string
	// LastHandled is the ID of the entry whose handling succeeded last, and
	// LastHandledAt when that was, exactly if the consumer had nothing else to do
	// then, and else when it was recorded. Empty and zero before the first.
	LastHandled   string
	LastHandledAt time.Time
	// LagTime is how far the consumer is behind, in time, as [Lag].Time is: the age of
	// the oldest entry that it has read and not done, by the clock here and the entry's
	// ID; zero when there is none and the last read has shown that no more is there.
	// While it cannot read, is paused or does not run, it is the time since it last did, when
	// entries may have come that it does not know of: the worst case. It is zero before
	// the first Run. IDs that publishers chose make it meaningless. Entries over the
	// limit of deliveries do not count. [Consumer.Lag] asks Redis.
	LagTime time.Duration

	// Working is how many handlers are at work, Held how many entries have failed
	// and wait to be delivered again, or for their dead letter to be written, Parked
	// how many are over the limit of deliveries and left pending.
	Working, Held, Parked int
	// Window is how many entries are read and not settled, without those that are parked, and
	// WindowSize how many that may be; see [WithWindow]. WindowBytes is the size of the fields
	// of those that are not done, and WindowSizeBytes the limit; see [WithWindowBytes]. All
	// seven are zero while no Run is at work.
	Window, WindowSize           int
	WindowBytes, WindowSizeBytes int64

	// Read counts entries that were read. Those that were pending on the consumer
	// when it started, or were claimed, are not among them.
	Read int64
	// Handled counts deliveries whose handler succeeded. An entry is among them
	// twice if it had to be delivered again although it was done, after a crash say.
	Handled int64
	// Absorbed counts entries passed because they could not be decoded, Skipped
	// those of no concern, DeadLettered those written to a dead-letter stream, and
	// Discarded those over the limit of deliveries that [WithDiscard] acked.
	Absorbed, Skipped, DeadLettered, Discarded int64
	// Failed counts deliveries that failed, so that the entry is delivered again.
	Failed int64
	// Postponed counts deliveries after which the entry was put off, to come back later.
	Postponed int64
	// Redelivered counts deliveries that had an end and were not the first of their
	// entry ([Entry.Deliveries]).
	Redelivered int64
	// Lost counts entries that Redis no longer had.
	Lost int64
	// Claimed counts entries taken over from consumers that died or stopped, and those that have
	// come back after [RetryAfter],
	// HandedBack those that were pending here when Run returned, and given back.
	Claimed, HandedBack int64
	// Reconnects counts how often reading worked again after it had failed.
	Reconnects int64

	// Seeks counts how often the consumer was set to another place ([Consumer.Seek]).
	Seeks int64
	// PausedUntil is the end of the pause ([Consumer.Pause]), zero if there is none.
	PausedUntil time.Time

	// LastError names the last trouble, with the remedy if people have to do something, and
	// LastErrorAt when that was. It may be long over: [Consumer.Health] tells of now. Of a
	// handler's error it says only that there was one.
	LastError   string
	LastErrorAt time.Time
}

// Each calls the function with each number of the Stats that a metric can be made of: its name,
// in words with points, such as "outcomes.handled"; its unit, as UCUM writes it ("s", "By",
// "{entry}"); and its kind, "counter" for a number that only grows and "gauge" for one of this
// moment. Names, units and kinds do not change from call to call, nor does the order. Pending
// entries and a lag in entries are Redis' to know; see [Consumer.Lag].
func (s Stats) Each(yield func(name, unit, kind string, value float64)) {
	for _, n := range statNumbers {
		yield(n.name, n.unit, n.kind, n.of(&s))
	}
}

// statNumbers are the numbers of Stats, in the order of Each.
var statNumbers = []struct {
	name, unit, kind string
	of               func(*Stats) float64
}{
	{"read", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Read) }},
	{"outcomes.handled", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Handled) }},
	{"outcomes.absorbed", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Absorbed) }},
	{"outcomes.skipped", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Skipped) }},
	{"outcomes.dead-lettered", "{entry}", "counter", func(s *Stats) float64 { return float64(s.DeadLettered) }},
	{"outcomes.discarded", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Discarded) }},
	{"outcomes.held", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Failed) }},
	{"outcomes.postponed", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Postponed) }},
	{"redelivered", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Redelivered) }},
	{"lost", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Lost) }},
	{"claimed", "{entry}", "counter", func(s *Stats) float64 { return float64(s.Claimed) }},
	{"handed-back", "{entry}", "counter", func(s *Stats) float64 { return float64(s.HandedBack) }},
	{"reconnects", "{reconnect}", "counter", func(s *Stats) float64 { return float64(s.Reconnects) }},
	{"seeks", "{seek}", "counter", func(s *Stats) float64 { return float64(s.Seeks) }},
	{"paused", "{consumer}", "gauge", func(s *Stats) float64 { return oneIf(!s.PausedUntil.IsZero()) }},
	{"behind", "s", "gauge", func(s *Stats) float64 { return s.LagTime.Seconds() }},
	{"working", "{handler}", "gauge", func(s *Stats) float64 { return float64(s.Working) }},
	{"held", "{entry}", "gauge", func(s *Stats) float64 { return float64(s.Held) }},
	{"parked", "{entry}", "gauge", func(s *Stats) float64 { return float64(s.Parked) }},
	{"window.used", "{entry}", "gauge", func(s *Stats) float64 { return float64(s.Window) }},
	{"window.size", "{entry}", "gauge", func(s *Stats) float64 { return float64(s.WindowSize) }},
	{"window.bytes.used", "By", "gauge", func(s *Stats) float64 { return float64(s.WindowBytes) }},
	{"window.bytes.size", "By", "gauge", func(s *Stats) float64 { return float64(s.WindowSizeBytes) }},
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Stats returns the numbers of the consumer. It asks no server, and never waits for Redis or a
// handler. It may be called at any time: before, during, after and between Runs. In group mode
// it looks at each entry in the window.
func (c *Consumer[T]) Stats() Stats { return c.engine.stats() }

func (e *engine) stats() Stats {
	until, _ := e.steering.pausedUntil()
	m := &e.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Stats{
		Since:       m.since,
		Lost:        m.lost,
		Claimed:     m.claimed,
		HandedBack:  m.handedBack,
		Reconnects:  m.reconnects,
		Seeks:       m.seeks,
		PausedUntil: until,
		LastError:   m.text(),
		LastErrorAt: m.at,
	}
	t := m.Counts
	if m.run != nil {
		w := m.run.window
		t = t.Plus(w.Counted())
		in := w.InHand()
		s.Working, s.Held, s.Parked = in.Working, in.Held, in.Parked
		s.Window, s.WindowSize, s.WindowBytes, s.WindowSizeBytes = in.Entries, in.Size, in.Bytes, in.SizeBytes
	}
	s.Position, s.LastHandled, s.LastHandledAt = t.Position, t.LastHandled, t.HandledAt
	if !e.inGroup() {
		s.Settled = t.SettledAt
	}
	s.LagTime = m.behind(e, t, time.Now())
	s.Read, s.Redelivered = t.Read, t.Redelivered
	s.Handled = t.Ends[OutcomeHandled]
	s.Absorbed = t.Ends[OutcomeAbsorbed]
	s.Skipped = t.Ends[OutcomeSkipped]
	s.DeadLettered = t.Ends[OutcomeDeadLettered]
	s.Discarded = t.Ends[OutcomeDiscarded]
	s.Failed = t.Ends[OutcomeHeld]
	s.Postponed = t.Ends[OutcomePostponed]
	return s
}

// behind returns how far behind the consumer is; see Stats.
func (m *meter) behind(e *engine, t window.Counts, now time.Time) time.Duration {
	switch {
	case t.Oldest != "":
		return ageOf(t.Oldest, now)
	case m.run != nil && t.Full:
		return ageOf(t.Position, now) // the next entry is younger
	case m.run != nil && !m.run.window.IsPaused() && !m.unreadable && m.silence(e, now) == 0 && !m.lastRead.Before(m.since):
		return 0
	case !m.lastRead.IsZero():
		return now.Sub(m.lastRead)
	case m.run != nil:
		return now.Sub(m.since)
	}
	return 0
}

// ageOf returns how long ago an entry got its ID. Clocks differ: it is not negative.
func ageOf(id string, now time.Time) time.Duration {
	parsed, err := offset.Parse(id)
	if err != nil {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(int64(parsed.Ms)))) //nolint:gosec // beyond int64 nothing is sensible
}
