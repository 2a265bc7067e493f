package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"millrace/offset"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/feed"
	"millrace/stream/internal/loss"
	"millrace/stream/internal/resp"
	"millrace/stream/internal/task"
	"millrace/stream/internal/window"
)

// logSource is log mode: XREAD from an offset that the store keeps.
type logSource struct {
	*run
	feed   feed.Feed
	losses *loss.LogFinder

	// The reading goroutine's own.

	// looked is when it was looked whether all is as it should be.
	looked time.Time
	stored stored
	// lost is the loss that was told, until the reader has gone on behind it.
	lost loss.Finding
}

func openLog(ctx context.Context, r *run) (source, error) {
	feed, err := r.newFeed(ctx, "", "")
	if err != nil {
		return nil, err
	}
	losses := loss.NewLogFinder(loss.Stream{Client: r.client, Name: r.stream, MaxEntry: r.maxEntry})
	return &logSource{run: r, feed: feed, losses: losses, looked: time.Now()}, nil
}

// start loads the offset, or finds the configured start if there is none. A
// start that is not the same at every look is saved at once: a consumer that
// is restarted before its first entry must not find another one.
func (s *logSource) start(ctx context.Context) error {
	resumed, err := s.find(ctx)
	if err != nil {
		return err
	}
	err = s.losses.Begin(ctx, resumed)
	if err == nil {
		s.log().Info("consumer started", "offset", s.losses.Place().ID) // once: a start that fails is tried again
	}
	return err
}

// find finds out where to begin, and whether that is the offset of an earlier run.
func (s *logSource) find(ctx context.Context) (resumed bool, err error) {
	id, found, err := s.load(ctx)
	if err != nil {
		return false, fmt.Errorf("loading the offset %q: %w", s.label, err)
	}
	if found {
		parsed, err := offset.Parse(id)
		if err != nil {
			return false, fmt.Errorf("%w: the store's offset %q is no entry ID: %w", offset.ErrCorrupt, s.label, err)
		}
		s.stored.is(id)
		// What FromTime has stored is no entry's.
		id = parsed.String() // a hand-written consumer may have stored a short form
		s.setPlace(resp.Place{ID: id, Seen: parsed != offset.ID{} && parsed.Seq != math.MaxUint64})
		return true, nil
	}
	from, err := s.config.start.resolve(ctx, s.client, s.stream)
	if err != nil {
		return false, err
	}
	if from.ID != resp.Beginning || s.config.start.end {
		if err := s.save(ctx, from.ID); err != nil {
			return false, fmt.Errorf("saving the offset %q to start at: %w", s.label, err)
		}
	}
	s.setPlace(from)
	return false, nil
}

func (s *logSource) setPlace(from resp.Place) {
	s.losses.SetPlace(from)
	s.window.StartAt(from.ID)
}

func (s *logSource) fetch(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.feed.Failed()
		}
	}()
	if s.lost.Cause != loss.None {
		if err := s.goOn(ctx); err != nil {
			return err
		}
	}
	if !s.awaitRoom(ctx) {
		return ctx.Err()
	}
	err = s.feed.Fetch(ctx, s.losses.Place(), s.take, s.lookAround)
	if err == nil && time.Since(s.looked) >= s.inspectEvery {
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
	s.reportLoss(s.log(), found)
	return s.goOn(ctx)
}

// lookAround looks for losses, now and then, while nothing comes.
func (s *logSource) lookAround(ctx context.Context) (wait bool, err error) {
	s.looked = time.Now()
	return s.losses.Look(ctx)
}

// take puts entries that were read into the window. Those that are left are read
// again.
func (s *logSource) take(b resp.Batch, at time.Time) (more bool) {
	b.Left = nil
	sound := s.losses.Read(b.Entries)
	return s.run.take(b, at) && sound
}

func (s *logSource) begin(_ context.Context, it *window.Item) bool {
	it.Deliveries++
	return true
}

func (s *logSource) writeLetter(ctx context.Context, letter *deadLetter) (settled bool, err error) {
	return false, s.writeDeadLetter(ctx, letter, s.move)
}

// settle saves the offset of the last of entries that follow each other.
func (s *logSource) settle(ctx context.Context, ended []*window.Item) error {
	if err := s.save(ctx, ended[len(ended)-1].ID); err != nil {
		return fmt.Errorf("saving the offset %q: %w", s.label, err)
	}
	return nil
}

func (s *logSource) load(ctx context.Context) (id string, found bool, err error) {
	type loaded struct {
		id    string
		found bool
	}
	result := make(chan loaded, 1)
	err = s.inTime(ctx, func() error {
		id, found, err := s.store.Load(ctx, s.label)
		result <- loaded{id, found}
		return err
	})
	if err != nil {
		return "", false, err
	}
	one := <-result
	return one.id, one.found, nil
}

// inTime has the store do something, and no longer than until ctx is done: a store of the
// user's may not look at that, and a stop would wait for it. A call that is left behind is
// waited for before the store is asked for anything else.
func (s *logSource) inTime(ctx context.Context, do func() error) error {
	if _, ours := s.store.(offset.Rebinder); ours {
		return isolated(do)
	}
	if err := s.storing.Lock(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := isolated(do)
		s.storing.Unlock()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(conn.AnswerGrace)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return ctx.Err()
	}
}

// These do nothing: between reads there is nothing to do.
func (s *logSource) maintain(context.Context)    {}
func (s *logSource) schedule(*task.Task)         {}
func (s *logSource) claimOthers(context.Context) {}

func (s *logSource) stop(ctx context.Context) error {
	if err := s.settleLast(ctx); err != nil {
		return fmt.Errorf("stream: stopped, but the last offset of %s could not be saved; the entries since the one before will be delivered again: %w", s.stream, explain(err))
	}
	return nil
}

func (s *logSource) interrupt() { s.feed.Interrupt() }

func (s *logSource) close() error { return s.feed.Close() }
