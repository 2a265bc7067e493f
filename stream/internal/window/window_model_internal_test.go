package window

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"millrace/codec"
	"millrace/stream/internal/resp"
)

// The window against a plain model: one list of entries, searched anew for each question.
// A case is a list of steps, drawn by rapid, which the reader, the handlers, the settler
// and the server might make in that order. After each step every goroutine comes to rest,
// and the window and the model must agree: which entries are at work, whether the reader
// goes on, whether a settling was requested, and every number that the window tells.
//
// Streaks of failures and probes change the time at which an entry is due. They have tests
// of their own, and are left out here: no delivery ends as handled.

// windowPlan is one case of [TestWindowAgainstAModel].
type windowPlan struct {
	group                       bool
	keys                        int // order keys, 0 is no order
	size, batch, every, workers int
	bytes                       int
	steps                       []windowStep
}

// windowStep is what happens next. The numbers are taken modulo what there is.
type windowStep struct {
	what    string
	n, pick int
}

// windowSteps are the steps, with how often each is drawn.
var windowSteps = map[string]int{
	"read": 8, "end": 12, "hold": 4, "letter": 3, "park": 4, "letter ends": 4, "letter fails": 1,
	"settle": 5, "settled": 5, "settling fails": 2, "time": 6, "reader leaves": 1, "drain": 1, "pause": 1, "resume": 3,
	"take over": 4, "lose": 3, "suspect": 1, "renew": 2, "orphans": 1, "room to take": 4, "watch": 1,
}

func drawWindowPlan(t *rapid.T) windowPlan {
	var names []string
	for name, times := range windowSteps {
		for range times {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	step := rapid.Custom(func(t *rapid.T) windowStep {
		return windowStep{
			what: rapid.SampledFrom(names).Draw(t, "what"),
			n:    rapid.IntRange(0, 12).Draw(t, "n"),
			pick: rapid.IntRange(0, 1000).Draw(t, "pick"),
		}
	})
	p := windowPlan{
		group:   rapid.Bool().Draw(t, "group"),
		keys:    rapid.IntRange(0, 3).Draw(t, "keys"),
		batch:   rapid.IntRange(1, 5).Draw(t, "batch"),
		every:   rapid.IntRange(1, 6).Draw(t, "every"),
		workers: rapid.IntRange(1, 4).Draw(t, "workers"),
		bytes:   rapid.SampledFrom([]int{400, 1000, 1 << 30}).Draw(t, "bytes"),
		steps:   rapid.SliceOfN(step, 20, 120).Draw(t, "steps"),
	}
	p.size = p.batch + rapid.IntRange(0, 8).Draw(t, "size beyond a batch")
	if p.serial() {
		p.workers = 1
	}
	return p
}

// serial is log mode without an order key, as the options of a consumer set it.
func (p windowPlan) serial() bool { return !p.group && p.keys == 0 }

func TestWindowAgainstAModel(t *testing.T) {
	t.Parallel()
	for range 20 { // 2,000 cases, a second
		rapid.Check(t, func(rt *rapid.T) {
			plan := drawWindowPlan(rt)
			var m *windowModel
			synctest.Test(t, func(*testing.T) {
				m = newWindowModel(plan)
				m.run()
			})
			if m.problem != "" {
				plan.steps = nil
				rt.Fatalf("%+v:%s\n%s", plan, m.history, m.problem)
			}
		})
	}
}

const modelInterval = 300 * time.Millisecond

// modelItem is an entry in the model.
type modelItem struct {
	id, key                        string
	bytes                          int64
	state                          State
	due                            time.Time
	told                           time.Time // when Redis was told of it
	again                          bool      // it is not new: it failed before, or was taken over
	known                          bool      // its key is known, and it is in the line of the key
	loaded                         bool      // its fields are in memory
	free                           bool
	lost, suspect, dropped, failed bool
	job                            *windowJob
}

// windowJob is an entry that a worker has.
type windowJob struct {
	item *Item
	id   string
	lost atomic.Bool
	do   chan func()
}

// windowModel is the model, and the driver of the window.
type windowModel struct {
	plan    windowPlan
	w       *Window
	leases  *Leases  // in group mode
	mark    *LowMark // in log mode
	history string
	problem string

	// In the order in which the window got them.
	items   []*modelItem
	lines   map[string][]*modelItem // by key
	next    int                     // number of the next entry of the stream
	settled []string                // IDs that have left the window while it was watched
	over    func()                  // ends the watching
	ended   []*modelItem            // done, in the order in which they ended
	flight  int                     // entries that are being settled
	stalled bool
	paused  bool
	stopped bool
	fetched int64 // bytes that have come into memory since the last rest
	shadow  bool  // a lost entry may be in a queue until a worker looks there
	endedAt time.Time
	held    bool // the step has left an entry for which nobody knows how long it stays

	reader   chan bool // nil when the reader does not wait
	draining bool
	leave    context.CancelFunc
	wanted   int // entries that the reader brings when there is room

	// What the window calls, with its lock held.
	asked, told, letters atomic.Int64
	armed                int // for how many entries there is to be room; 0 is not armed

	jobs []*windowJob // that have not ended

	mu     sync.Mutex
	events []windowEvent // since the last rest
}

// windowEvent is an entry that a worker has begun, or has put behind another one of its
// key, without a job then.
type windowEvent struct {
	id  string
	job *windowJob
}

func newWindowModel(p windowPlan) *windowModel {
	l := Limits{Size: p.size, Batch: p.batch, Every: p.every, Interval: modelInterval, MaxWorkers: p.workers, Bytes: p.bytes, Serial: p.serial()}
	if p.keys > 0 {
		l.Key = testKeys(func(e *resp.Entry) string {
			text, _ := e.Fields.Get("key")
			return text
		})
	}
	m := &windowModel{plan: p, lines: make(map[string][]*modelItem)}
	h := Hooks{
		Settle:      func() { m.asked.Add(1) },
		LetterTaken: func() { m.letters.Add(1) },
		StartWorker: func() { go m.work() },
	}
	if p.group {
		m.w, m.leases = NewLeased(l, h)
	} else {
		m.w, m.mark = NewMarked(l, h)
	}
	return m
}

func (m *windowModel) wrong(format string, args ...any) {
	if m.problem == "" {
		m.problem = fmt.Sprintf(format, args...)
	}
}

// work is a worker, as run.workOn is, with an end that the driver decides about.
func (m *windowModel) work() {
	for {
		job := &windowJob{do: make(chan func())}
		job.item, _ = m.w.Next(func(error) { job.lost.Store(true) })
		if job.item == nil {
			return
		}
		job.id = job.item.ID
		if !m.begin(job) {
			continue
		}
		(<-job.do)()
	}
}

// begin fetches the fields of an entry that has none, as group mode does.
func (m *windowModel) begin(job *windowJob) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.plan.group {
		if job.item.Entry == nil {
			m.leases.Load(job.item, modelEntryOf(job.id, m.plan.keys), 1)
		}
		if !m.leases.QueueUp(job.item) {
			m.events = append(m.events, windowEvent{id: job.id})
			return false
		}
	}
	m.events = append(m.events, windowEvent{job.id, job})
	return true
}

// modelEntryOf returns the entry of the stream with an ID, which says all.
func modelEntryOf(id string, keys int) *resp.Entry {
	var n uint32
	_, _ = fmt.Sscanf(id, "%d-0", &n)
	return &resp.Entry{ID: id, Fields: codec.FieldsOf("key", fmt.Sprint((n*7)%uint32(max(1, keys)))), Size: 10 * (n % 13)}
}

func (m *windowModel) newItem(id string) *modelItem {
	e := modelEntryOf(id, m.plan.keys)
	text, _ := e.Fields.Get("key")
	it := &modelItem{id: id, key: text, bytes: e.Bytes(), told: time.Now()}
	m.items = append(m.items, it)
	return it
}

func (m *windowModel) run() {
	for _, step := range m.plan.steps {
		m.history += fmt.Sprintf("\n\t%s n=%d pick=%d", step.what, step.n, step.pick)
		m.step(step)
		m.rest()
		if m.problem != "" {
			break
		}
	}
	m.stop()
}

func (m *windowModel) step(s windowStep) {
	now, group := time.Now(), m.plan.group
	switch s.what {
	case "read":
		if m.reader == nil {
			m.wanted = 1 + s.n%m.plan.batch
			m.await(m.w.AwaitRoom)
		}
	case "drain":
		if m.reader == nil {
			m.draining = true
			m.await(func(ctx context.Context, _ func(string, State, int64)) bool { return m.w.Drain(ctx) == nil })
		}
	case "pause", "resume":
		m.paused = s.what == "pause"
		m.w.SetPaused(m.paused)
	case "reader leaves":
		if m.reader != nil {
			m.leave()
			synctest.Wait()
			if len(m.reader) == 0 || <-m.reader {
				m.wrong("the reader waits though its context is done")
			}
			m.reader, m.draining = nil, false
		}
	case "time":
		m.pass([]time.Duration{time.Millisecond, 50 * time.Millisecond, modelInterval, 3 * time.Second}[s.n%4])
	case "end", "hold", "letter", "park":
		if it := m.pick(Working, s.pick); it != nil && (group || s.what != "park") {
			m.end(it, s)
		}
	case "letter ends", "letter fails":
		if it := m.pick(Writing, s.pick); it != nil {
			m.endLetter(it, s)
		}
	case "settle":
		if m.flight == 0 {
			m.settle(now.Add(-time.Duration(s.n) * 100 * time.Millisecond))
		}
	case "settled":
		if m.flight > 0 {
			m.w.Settled(m.flight)
			m.leaves(m.ended[:m.flight]...)
			m.ended, m.flight, m.stalled = m.ended[m.flight:], 0, false
		}
	case "settling fails":
		if m.flight > 0 {
			m.w.Stall()
			m.stalled = true
		}
	case "take over", "lose", "suspect", "renew", "orphans", "room to take", "watch":
		if group {
			m.stepOfGroup(s, now)
		}
	}
}

// stepOfGroup is a step that only group mode has.
func (m *windowModel) stepOfGroup(s windowStep, now time.Time) {
	some := m.some(s)
	switch s.what {
	case "take over":
		ids := slices.Concat(some, m.settled) // these are no news
		want := 1 + s.n%4
		for range want {
			m.next++
			ids = append(ids, fmt.Sprintf("%d-0", m.next))
			it := m.newItem(ids[len(ids)-1])
			it.again, it.free = true, s.pick%2 == 0
		}
		if n := m.leases.AddClaimed(ids, s.pick%2 == 0, now); n != want {
			m.wrong("%d of %v were taken in, want %d", n, ids, want)
		}
	case "lose":
		given := m.leases.GiveUp(some, errTaken)
		if want := m.lose(some); !slices.Equal(given, want) {
			m.wrong("given up were %v, want %v", given, want)
		}
	case "suspect":
		m.leases.DoubtGone(some)
		for _, it := range m.named(some) {
			it.suspect = true
		}
	case "renew":
		limit := now.Add(-time.Duration(s.n) * 100 * time.Millisecond)
		var want []string
		for _, it := range m.items {
			if it.state != Done && !it.lost && it.told.Before(limit) {
				want = append(want, it.id)
			}
		}
		slices.SortFunc(want, resp.CompareIDs)
		var list []string
		for _, one := range m.leases.ToRenew(limit) {
			list = append(list, one.ID)
		}
		if !slices.Equal(list, want) {
			m.wrong("to be renewed are %v, want %v", list, want)
		}
		m.leases.NoteRenewed(some, now)
		for _, it := range m.named(some) {
			it.told, it.dropped = now, false
		}
	case "orphans":
		m.orphans(some, now.Add(-time.Duration(s.n)*100*time.Millisecond))
	case "room to take":
		m.armed = 1 + s.n
		m.told.Store(0)
		m.leases.WhenRoomToClaim(m.armed, func() { m.told.Add(1) })
	case "watch":
		if m.over == nil {
			m.over = m.leases.WatchLeaving()
		} else {
			m.over()
			m.over, m.settled = nil, nil
		}
	}
}

// await has the reader wait, as far as it has to.
func (m *windowModel) await(wait func(context.Context, func(string, State, int64)) bool) {
	ctx, leave := context.WithCancel(context.Background())
	m.leave = leave
	m.reader = make(chan bool, 1)
	reader := m.reader
	go func() {
		defer leave()
		reader <- wait(ctx, func(string, State, int64) {})
	}()
}

// read brings the entries for which the reader has waited. In group mode the last of
// them may come without fields, and one may be in the window already.
func (m *windowModel) read() {
	var b resp.Batch
	fill := func(it *modelItem) {
		it.known = m.plan.keys > 0
		if it.known {
			m.lines[it.key] = append(m.lines[it.key], it)
		}
	}
	if m.plan.group && m.wanted%3 == 0 {
		for _, it := range m.items {
			if !it.lost && it.state != Done {
				b.Entries = append(b.Entries, *modelEntryOf(it.id, m.plan.keys))
				break
			}
		}
	}
	double := len(b.Entries)
	for i := range m.wanted {
		m.next++
		it := m.newItem(fmt.Sprintf("%d-0", m.next))
		fill(it)
		if m.plan.group && m.wanted%2 == 0 && i == m.wanted-1 {
			b.Left = append(b.Left, resp.Leftover{ID: it.id, Key: it.key})
			it.free = true
			continue
		}
		it.loaded = true
		b.Entries = append(b.Entries, *modelEntryOf(it.id, m.plan.keys))
	}
	m.w.AddRead(b, time.Now())
	if at := m.w.Position(); at != b.LastID() {
		m.wrong("the position is %s behind a read up to %s", at, b.LastID())
	}
	if !m.plan.group {
		return
	}
	if ids := m.leases.TakeDoubles(); len(ids) > 0 {
		m.wrong("%v of a read that brought %d once more are other entries", ids, double)
	}
}

// end ends a delivery.
func (m *windowModel) end(it *modelItem, s windowStep) {
	item, due := it.job.item, time.Now().Add(time.Duration(1+s.n)*20*time.Millisecond)
	lost := it.lost
	if it.job.lost.Load() != lost {
		m.wrong("%s: its context has ended is %t, it is lost is %t", it.id, !lost, lost)
	}
	m.jobs = slices.DeleteFunc(m.jobs, func(job *windowJob) bool { return job == it.job })
	to := map[string]State{"end": Done, "hold": Waiting, "park": Parked, "letter": Writing, "break off": Interrupted}[s.what]
	it.job.do <- func() {
		switch to {
		case Writing:
			if m.w.Hold(item) == lost {
				m.wrong("%s: its dead letter is to be written is %t", it.id, lost)
			}
			if lost {
				m.w.Forget(item)
			}
			return
		case Waiting:
			item.Due, item.Outcome = due, Outcome(6)
		case Parked:
			item.Outcome = Outcome(7)
		default:
			item.Outcome = Outcome(3)
		}
		m.w.End(item, to)
	}
	if lost {
		m.leaves(it)
		return
	}
	it.state, it.due, it.failed = to, due, it.failed || to == Waiting
	m.held = to == Waiting
	it.again = it.again || to == Waiting
	switch {
	case to == Done:
		m.endsWell(it)
	case m.plan.group && to != Writing:
		it.loaded = false // they are fetched anew
	}
	if to == Parked {
		m.release(it)
	}
}

// endLetter ends, or not, the writing of a dead letter.
func (m *windowModel) endLetter(it *modelItem, s windowStep) {
	switch {
	case s.what == "letter fails":
		m.w.WriteFailed(it.job.item)
		m.held = !it.failed
		it.failed = true
	case m.plan.group && s.n%2 == 0: // which acks the entry
		m.w.ForgetWritten(it.job.item)
		m.leaves(it)
	default:
		m.w.Written(it.job.item, Done)
		it.state = Done
		m.endsWell(it)
	}
}

func (m *windowModel) endsWell(it *modelItem) {
	it.loaded = false
	m.release(it)
	m.endedAt = time.Now()
	if m.plan.group {
		m.ended = append(m.ended, it)
		return
	}
	m.ended = nil
	for _, it := range m.items {
		if it.state != Done {
			break
		}
		m.ended = append(m.ended, it)
	}
}

// release takes an entry out of the line of its key.
func (m *windowModel) release(it *modelItem) {
	it.known = false
	m.lines[it.key] = slices.DeleteFunc(m.lines[it.key], func(other *modelItem) bool { return other == it })
}

// leaves takes entries out of the window.
func (m *windowModel) leaves(list ...*modelItem) {
	for _, it := range slices.Clone(list) {
		m.release(it)
		m.items = slices.DeleteFunc(m.items, func(other *modelItem) bool { return other == it })
		if m.over != nil {
			m.settled = append(m.settled, it.id)
		}
	}
}

// lose takes entries out that another consumer has claimed, but for those at work, which
// keep the line of their key to the end of the delivery.
func (m *windowModel) lose(ids []string) (given []string) {
	for _, it := range m.named(ids) {
		if it.suspect || it.state == Done {
			continue
		}
		given = append(given, it.id)
		it.lost = true
		if it.state == Working {
			continue
		}
		m.shadow = m.shadow || it.state == Unread
		if it.state == Writing {
			if m.letters.Add(-1) < 0 {
				m.wrong("%s is lost, and its dead letter is still to be written", it.id)
			}
			m.w.ForgetWritten(it.job.item) // as the sweeper does
		}
		m.leaves(it)
	}
	return given
}

// settle asks for what may be settled.
func (m *windowModel) settle(since time.Time) {
	m.asked.Store(0)
	list := m.w.Settleable()
	var ids, want, late, wantLate []string
	for _, it := range list {
		ids = append(ids, it.ID)
	}
	for _, it := range m.ended {
		want = append(want, it.id)
		if it.told.Before(since) {
			wantLate = append(wantLate, it.id)
		}
	}
	if !slices.Equal(ids, want) {
		m.wrong("%v may be settled, want %v", ids, want)
		return
	}
	if m.flight = len(list); m.plan.group {
		if _, late = m.leases.Split(list, since); !slices.Equal(late, wantLate) {
			m.wrong("somebody may have claimed %v, want %v", late, wantLate)
		}
	}
}

// orphans tells entries that are pending on nobody.
func (m *windowModel) orphans(ids []string, limit time.Time) {
	var want, wantEnded []string
	for _, it := range m.named(ids) {
		switch {
		case it.suspect || it.state == Done:
		case !it.dropped && it.told.Before(limit):
			wantEnded = append(wantEnded, it.id)
		default:
			it.dropped = true
			want = append(want, it.id)
		}
	}
	var removed []string
	list, ended := m.leases.Orphans(ids, time.Time{}, limit)
	for _, one := range list {
		removed = append(removed, one.ID)
	}
	if !slices.Equal(removed, want) || !slices.Equal(ended, wantEnded) {
		m.wrong("to be taken back are %v, want %v, ended are %v, want %v", removed, want, ended, wantEnded)
	}
}
