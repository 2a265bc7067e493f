package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/offset"
	"millrace/stream"
	"millrace/stream/internal/conn"
	"millrace/stream/internal/script"
)

// mover does a redrive. It is for one goroutine.
type mover struct {
	*redrive
	progress
	pace    pace
	returns returns
	doing   *doing
	// apart is set once the server has said that the two streams are in different slots, or
	// from the start if they are on two servers: letters are moved in two steps then.
	apart    bool
	reported time.Time
}

// reportEvery is how often progress is told.
const reportEvery = 200 * time.Millisecond

// do moves the letters of the plan, and then asks the server which of them are left.
func (r *redrive) do(ctx context.Context, d *doing) (Redriven, error) {
	m := &mover{
		redrive: r, doing: d, apart: r.cfg.Client != nil,
		progress: progress{planned: r.letters},
		pace:     pace{rate: d.rate, behind: d.behind, lag: -1},
		returns:  returns{after: "-"},
	}
	if n := len(r.letters); n > 0 {
		m.returns.after = "(" + r.letters[n-1].id
	}
	err := m.run(ctx)
	after := context.WithoutCancel(ctx)
	how, asking := m.outcome(after, r.admin, r.dead)
	if err := m.lookForReturns(after); err != nil {
		asking = errors.Join(asking, err)
	}
	done := Redriven{
		Planned: int64(len(r.letters)), Moved: how.moved, Unsure: how.unsure, Gone: how.gone, Left: how.left,
		Returned: m.returns.count,
	}
	m.tell("")
	return done, m.failure(done, errors.Join(err, asking))
}

// failure returns an error with the numbers of the letters that are moved and left.
func (m *mover) failure(done Redriven, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("admin: redriving %s to %s stopped, %v; planned again, it goes on: %w", m.dead, m.target, done, err)
}

// run moves page after page.
func (m *mover) run(ctx context.Context) error {
	if m.doing.behind > 0 && len(m.planned) > 0 && !m.forGroups() {
		return errors.New("WaitWhileBehind knows how far groups are behind, and the letters are of no single group; use Rate")
	}
	for m.next < len(m.planned) {
		n, err := m.await(ctx)
		if err != nil {
			return err
		}
		some := page(m.planned[m.next:], n)
		if err := m.movePage(ctx, some); err != nil {
			return err
		}
		m.pace.moved(len(some), time.Now())
		if time.Since(m.reported) >= reportEvery {
			m.tell("")
		}
	}
	return nil
}

// movePage moves letters in one step, or one letter in two.
func (m *mover) movePage(ctx context.Context, some []plannedLetter) error {
	if !m.apart {
		err := m.step(ctx, m.admin.client, some, m.moveTogether)
		if conn.Classify(err).Code != "CROSSSLOT" {
			return err
		}
		m.apart = true
	}
	for i := range some {
		if err := m.step(ctx, m.client, some[i:i+1], m.moveApart); err != nil {
			return err
		}
	}
	return nil
}

// address returns who gets the entries, as scriptRedrive takes it.
func (m *mover) address() string {
	switch {
	case m.cfg.Everybody:
		return "*"
	case m.cfg.ToGroup != "":
		return m.addressOf(nil)
	default:
		return ""
	}
}

// moveTogether moves letters by one script.
func (m *mover) moveTogether(ctx context.Context, some []plannedLetter) (a answered, err error) {
	move, args := scriptRedrive, arguments(some, m.cfg.MaxRedrives, m.address())
	if m.edited != nil {
		move, args = scriptEdit, arguments(some)
		for _, text := range m.edited {
			args = append(args, text)
		}
	}
	answers, err := move.Run(ctx, m.admin.client, []string{m.dead, m.target}, args...).StringSlice()
	if err != nil {
		return a, err
	}
	if len(answers) == 0 || len(answers) > len(some) {
		return a, errReply
	}
	for _, answer := range answers {
		a.letters++
		switch answer {
		case "gone":
			a.gone++
		case "kept":
		default:
			a.moved++
			m.returns.expect(answer)
		}
	}
	return a, nil
}

// onceKept is how long a key is kept that says that a letter was moved.
const onceKept = 24 * time.Hour

// moveApart moves one letter in two steps: it is published with a key, and then deleted. Both
// can be repeated.
func (m *mover) moveApart(ctx context.Context, some []plannedLetter) (a answered, err error) {
	a.letters = 1
	id, err := offset.Parse(some[0].id)
	if err != nil {
		return a, err
	}
	found, err := readByIDs(ctx, m.admin.client, m.dead, []offset.ID{id})
	if err != nil {
		return a, err
	}
	var letter Letter
	there := false
	if len(found) == 1 {
		letter, there = letterOf(m.dead, found[0])
	}
	if !there || letter.last != some[0].last {
		a.gone = 1
		return a, nil
	}
	pairs := m.edited
	if pairs == nil {
		pairs = letter.restored(m.addressOf(&letter))
	}
	args := []any{onceKept.Milliseconds(), "*"}
	for _, text := range pairs {
		args = append(args, text)
	}
	entry, err := publishOnce.Run(ctx, m.client, []string{m.target, m.onceKey(letter.ID)}, args...).Text()
	if err != nil {
		return a, err
	}
	deleted, err := conn.DoOnce(ctx, m.admin.client, "xdel", m.dead, letter.ID).Int64()
	if err != nil {
		return a, err
	}
	a.moved, a.gone = int(deleted), 1-int(deleted)
	m.returns.expect(entry)
	return a, nil
}

// publishOnce adds an entry, unless its key says that it was added, and returns the entry's ID.
var publishOnce = conn.NewOnceScript(script.PublishOnce)

// onceKey returns the key that says that a letter was moved. In a cluster it is in the slot of
// the stream that gets the entry.
func (m *mover) onceKey(letter string) string {
	return strings.TrimSuffix(stream.DeadLetterStream(m.target), ":dead") + ":once:redrive:" + m.dead + ":" + letter
}
