package logmode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"millrace/offset"
	"millrace/stream/internal/commit"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/mode"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// Settings are those of log mode.
type Settings struct {
	mode.Settings
	Store offset.Store
	Label string
	// Resume asks the user's policy where to go on after a loss. An error ends the run.
	Resume func(context.Context, loss.Finding) (mode.Start, error)
}

// source reads, delivers and settles in log mode.
type source struct {
	host    mode.Host
	log     *slog.Logger
	of      loss.Stream // with the client that asks
	start   mode.Start
	sought  bool
	bound   *mode.Bound
	inspect time.Duration
	resume  func(context.Context, loss.Finding) (mode.Start, error)
	letters *commit.LetterWriter
	window  *window.Window

	feed   feed.Feed
	losses *loss.LogFinder
	stored stored

	// The reading goroutine's own.

	// idle is set when the last read has brought all that there was.
	idle bool
	// looked is when it was looked whether all is as it should be.
	looked time.Time
	// linked is when it was looked whether the label still has the link of the last commit, zero
	// after a failure.
	linked time.Time
	// lost is the loss that was told, until the reader has gone on behind it.
	lost loss.Finding
}

// Open returns log mode for one run, whose reading ends with ctx.
func Open(ctx context.Context, s Settings) (mode.Mode, error) {
	from, err := feed.Open(ctx, s.Feed)
	if err != nil {
		return mode.Mode{}, err
	}
	return Over(from, s), nil
}

// Over returns log mode that reads from a feed. Until Start the place is the beginning.
func Over(from feed.Feed, s Settings) mode.Mode {
	of := loss.Stream{Client: s.Feed.Commands.Client, Name: s.Feed.Stream, MaxEntry: s.MaxEntry}
	src := &source{
		host: s.Host, log: s.Log, of: of, start: s.Start, sought: s.Sought, bound: s.Bound, inspect: s.Feed.Inspect, resume: s.Resume,
		letters: s.Letters, window: s.Window, feed: from, losses: loss.NewLogFinder(of),
		stored: stored{store: s.Store, label: s.Label, storing: task.NewLock()}, looked: time.Now(), linked: time.Now(), idle: true,
	}
	if at, ok := s.Store.(offset.Located); ok && s.Effects != nil {
		src.stored.chain = newChain(at, s.Effects, s.Label)
		src.losses.KeepRecent()
	}
	src.losses.SetPlace(resp.Place{ID: resp.Beginning})
	return mode.Mode{Source: src, Deliverer: src, Settler: src, Seek: src.seek}
}

// Start loads the offset, or finds the configured start if there is none. A start that is
// not the same at every look is saved at once: a consumer that is restarted before its
// first entry must not find another one.
func (s *source) Start(ctx context.Context) error {
	resumed, err := s.find(ctx)
	if err != nil {
		return err
	}
	if s.bound != nil {
		if err := s.bound.Find(ctx, s.of); err != nil {
			return err
		}
	}
	err = s.losses.Begin(ctx, resumed && !s.sought)
	if err == nil {
		s.log.Info("consumer started", "offset", s.losses.Place().ID) // once: a start that fails is tried again
	}
	return err
}

// find finds out where to begin, and whether that is the offset of an earlier run.
func (s *source) find(ctx context.Context) (resumed bool, err error) {
	id, found, err := s.stored.load(ctx)
	if err != nil {
		return false, fmt.Errorf("loading the offset %q: %w", s.stored.label, err)
	}
	if found {
		parsed, err := offset.Parse(id)
		if err != nil {
			return false, fmt.Errorf("%w: the store's offset %q is no entry ID: %w", offset.ErrCorrupt, s.stored.label, err)
		}
		s.stored.is(id)
		// The offset that FromTime has stored is no entry's.
		id = parsed.String() // a hand-written consumer may have stored a short form
		s.setPlace(resp.Place{ID: id, Seen: parsed != offset.ID{} && parsed.Seq != math.MaxUint64})
		return true, nil
	}
	from, err := s.start.Resolve(ctx, s.of.Client, s.of.Name)
	if err != nil {
		return false, err
	}
	if from.ID != resp.Beginning || s.start.End {
		if err := s.save(ctx, from.ID); err != nil {
			return false, fmt.Errorf("saving the offset %q to start at: %w", s.stored.label, err)
		}
	}
	s.setPlace(from)
	return false, nil
}

func (s *source) setPlace(from resp.Place) {
	s.losses.SetPlace(from)
	s.window.StartAt(from.ID)
}

// Fetch reads, and looks for losses. After a loss it first goes on where the policy says.
func (s *source) Fetch(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.feed.Failed()
			s.linked = time.Time{}
		}
	}()
	if err := s.lookAtLink(ctx); err != nil {
		return err
	}
	if s.lost.Cause != loss.None {
		if err := s.goOn(ctx); err != nil {
			return err
		}
	}
	if over, err := s.isOver(ctx); err != nil || over {
		return cmp.Or(err, mode.ErrOver)
	}
	if !s.host.AwaitRoom(ctx) {
		return ctx.Err()
	}
	s.idle = true
	err = s.feed.Fetch(ctx, s.losses.Place(), s.take, s.lookAround)
	if err == nil && (time.Since(s.looked) >= s.inspect || s.losses.IsUncounted()) {
		_, err = s.lookAround(ctx)
	}
	find := s.losses.Find
	if errors.Is(err, feed.ErrNoWitness) {
		find, err = s.losses.Inspect, nil
	}
	if err != nil {
		s.losses.ReadFailed()
		return err
	}
	found, err := find(ctx)
	if err != nil || found.Cause == loss.None {
		return err
	}
	s.lost = found
	s.host.NoteLoss(s.log, found)
	return s.goOn(ctx)
}

// lookAtLink looks, now and then and after a failure, whether the server has fallen back.
func (s *source) lookAtLink(ctx context.Context) error {
	if s.stored.chain == nil || time.Since(s.linked) < s.inspect {
		return nil
	}
	err := s.stored.chain.look(ctx)
	if errors.Is(err, errFellBack) {
		s.log.Warn("what was settled is handled again", "err", err)
	}
	if err == nil {
		s.linked = time.Now()
	}
	return s.noteFallBack(err)
}

// isOver reports whether everything up to the bound was read.
func (s *source) isOver(ctx context.Context) (bool, error) {
	switch {
	case s.bound == nil:
		return false, nil
	case s.bound.IsCut():
		return true, nil
	case !s.idle && resp.CompareIDs(s.losses.Place().ID, s.bound.At()) < 0:
		return false, nil // there may be more; it is not worth a question after each read
	}
	return s.bound.Passed(ctx, s.of, s.losses.Place().ID)
}

// lookAround looks for losses, now and then, while nothing comes.
func (s *source) lookAround(ctx context.Context) (wait bool, err error) {
	s.looked = time.Now()
	wait, err = s.losses.Look(ctx)
	return wait && s.bound == nil, err
}

// take puts entries that were read into the window. Those that are left, come in a pause or are
// behind the bound are read again.
func (s *source) take(b resp.Batch, at time.Time) (more bool) {
	if s.window.IsPaused() {
		return false
	}
	b.Left = nil
	over := s.bound.Cut(&b)
	if b.Len() == 0 {
		return false
	}
	s.idle = !b.More
	sound := s.losses.Read(b.Entries)
	return s.host.Take(b, at) && sound && !over
}

// Begin counts the delivery, of which nothing but this run knows.
func (s *source) Begin(_ context.Context, it *window.Item) bool {
	it.Deliveries++
	return true
}

// Settle saves the offset of the last of the entries that have ended. Dead letters are written,
// and settled later by an offset.
func (s *source) Settle(ctx context.Context, b *commit.Batch) error {
	for _, letter := range b.Letters {
		letter.Err = s.letters.Write(ctx, letter, s.letters.Move)
	}
	if len(b.Ended) == 0 {
		return nil
	}
	settle := func() error { return s.save(ctx, b.Ended[len(b.Ended)-1].ID) }
	if s.stored.chain != nil {
		settle = func() error { return s.commit(ctx, b.Ended) }
	}
	if err := settle(); err != nil {
		return fmt.Errorf("saving the offset %q: %w", s.stored.label, s.noteFallBack(err))
	}
	return nil
}

// commit settles entries together with their effects. After an error, the next try goes on where
// this one has failed.
func (s *source) commit(ctx context.Context, list []*window.Item) error {
	c := s.stored.chain
	for c.sent != nil || c.passed < len(list) {
		if c.sent == nil {
			c.next(list[c.passed:])
		}
		id := c.sent.id
		before, err := c.send(ctx)
		if err != nil {
			s.stored.tried = append(s.stored.tried, id)
			return err
		}
		s.noteSaved(before, id)
	}
	c.passed = 0
	return nil
}

// noteFallBack has the run start over where the server is now, if a commit has found it at an
// earlier state.
func (s *source) noteFallBack(err error) error {
	if errors.Is(err, errFellBack) {
		s.host.StartOver()
	}
	return err
}

// Stop saves the last offset.
func (s *source) Stop(ctx context.Context) error {
	if err := s.host.SettleLast(ctx); err != nil {
		return fmt.Errorf("stream: stopped, but the last offset of %s could not be saved; the entries since the one before will be delivered again: %w", s.of.Name, conn.Classify(err).Explain(err))
	}
	return nil
}

// Recall has a fetch that waits come back.
func (s *source) Recall() { s.feed.Recall() }

// Interrupt ends a fetch that waits.
func (s *source) Interrupt() { s.feed.Interrupt() }

// Close ends the connection.
func (s *source) Close() error { return s.feed.Close() }

// goOn puts the reader where the policy says, after a loss.
func (s *source) goOn(ctx context.Context) error {
	start, err := s.resume(ctx, s.lost)
	if err != nil {
		return err
	}
	to, err := s.resolve(ctx, start, s.lost)
	if err != nil {
		return err
	}
	if here := s.losses.Place(); to != here {
		// The entries that were read before are settled first: their offsets are those of the
		// stream as it was, and must not come after the new one.
		reads := task.WatchdogOf(ctx)
		reads.End() // handlers take as long as they take
		if err := s.window.Drain(ctx); err != nil {
			return err
		}
		reads.Begin()
		if resp.CompareIDs(to.ID, here.ID) < 0 {
			if err := s.setBack(ctx, to.ID); err != nil {
				return err
			}
		}
		s.setPlace(to)
	}
	s.lost = loss.Finding{}
	s.log.Warn("reading goes on after a loss", "offset", to.ID)
	return nil
}

// resolve finds the place that the policy means.
func (s *source) resolve(ctx context.Context, start mode.Start, found loss.Finding) (resp.Place, error) {
	switch {
	case found.Cause == loss.Trimmed && (start.Known || start == mode.Start{}):
		// The entry behind it is the next, or was read already.
		return s.losses.Place(), nil
	case start.Known:
		return s.losses.LastKnown(ctx)
	case start.Back != nil:
		from, err := offset.Parse(found.From)
		if err != nil {
			return resp.Place{}, err
		}
		info, err := loss.Stream{Client: s.of.Client, Name: s.of.Name}.Info(ctx)
		if err == nil {
			if last, err := offset.Parse(info.LastGeneratedID); err == nil && last.Compare(from) < 0 {
				from = last
			}
		}
		start = mode.StartAt(time.UnixMilli(int64(from.Ms)).Add(-*start.Back))
	}
	return start.Resolve(ctx, s.of.Client, s.of.Name)
}

// save saves an offset, and looks at the one that was stored before, if the store tells it.
func (s *source) save(ctx context.Context, id string) error {
	before, err := s.stored.save(ctx, id)
	if err != nil {
		return err
	}
	s.noteSaved(before, id)
	return nil
}

// noteSaved takes note of an offset that was saved.
func (s *source) noteSaved(before, id string) {
	if before != "" {
		s.lookAt(before)
		if resp.CompareIDs(before, id) > 0 {
			id = before // where it stays
		}
	}
	s.stored.is(id)
	s.stored.saved = true
}

// rivalLasts is how long another writer of the offset is told of: on a stream with few
// entries, there are few saves that could find it again.
const rivalLasts = 5 * time.Minute

// lookAt tells of another writer that has moved the offset.
func (s *source) lookAt(before string) {
	switch known := &s.stored; {
	case known.isOurs(before):
	case resp.CompareIDs(before, known.id) < 0:
		// No save goes back: a failover has, or a reset.
		s.log.Warn("the stored offset had gone back, by a failover or a reset, and was moved on again; to start again from there, stop the consumer first", "from", known.id, "to", before)
	case !known.saved:
		// The last save of the consumer before may have come after our Load.
	default:
		s.host.NoteRival(s.log, fmt.Sprintf("the offset %q was moved on by another writer: another consumer has this label, and both handle every entry, or the offset was reset; give each consumer a label of its own (WithLabel), and stop a consumer before its offset is reset", known.label), rivalLasts)
	}
}

// setBack stores an offset below the one that is stored.
func (s *source) setBack(ctx context.Context, id string) error {
	switch err := s.stored.reset(ctx, id); {
	case err == errNoReset: //nolint:errorlint // our own, never wrapped
		s.log.Warn("the offset store cannot set an offset back; until new entries pass it, a restart finds the loss again", "offset", id)
	case err != nil:
		return fmt.Errorf("setting the offset %q back: %w", s.stored.label, s.noteFallBack(err))
	}
	return nil
}
