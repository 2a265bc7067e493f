package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/offset"
	"millrace/stream/admin/internal/entries"
	"millrace/stream/internal/script"
	"millrace/stream/internal/task"
)

// ErrUnattended comes from [Plan.Do] if consumers without an agent have to be told, or may be
// there. Stop them, or do it [Unattended].
var ErrUnattended = errors.New("admin: consumers without an agent cannot be told of it; stop them, or do it unattended")

// moved returns why the plan is not what would happen now.
func (s *seek) moved(ctx context.Context) (string, error) {
	_, standing, err := s.admin.standingOf(ctx, s.reader)
	switch {
	case errors.Is(err, ErrNoReader), errors.Is(err, ErrNoTopic):
		return s.reader.String() + " has gone", nil
	case err != nil:
		return "", err
	}
	info, err := infoOf(ctx, s.client, s.reader.Stream)
	if err != nil {
		return "", explain("reading "+s.reader.Stream, err)
	}
	if generatedOf(info).Compare(generatedOf(s.info)) < 0 {
		return s.reader.Stream + " was made anew", nil
	}
	return s.passed(standing.Position), nil
}

// passed returns whether the reader is where the plan does not hold.
func (s *seek) passed(position string) string {
	at, err := offset.Parse(position)
	switch {
	case err != nil && s.detail.Position == "":
	case err != nil || at.Compare(s.from) < 0:
		return s.reader.String() + " was set back to " + orElse(position, "no offset")
	case s.to.Compare(s.from) > 0 && at.Compare(s.to) > 0:
		return s.reader.String() + " has passed the place by itself"
	}
	return ""
}

func (s *seek) do(ctx context.Context, d *doing) (Sought, error) {
	agents := s.detail.Agents > 0
	direct := s.reader.Group != "" || s.store != ""
	switch {
	case d.unattended:
	case s.silent > 0, !agents && s.reader.Group == "" && s.store != "":
		return Sought{}, ErrUnattended
	}
	switch {
	case agents:
		return s.tell(ctx, d)
	case !direct:
		err := s.admin.editControl(ctx, s.reader, func(c *Control) { c.Seek = s.order(d) })
		return Sought{From: s.detail.Position, To: s.to.String(), Waiting: err == nil}, err
	case s.reader.Group != "":
		return s.setGroup(ctx, d)
	default:
		return s.setLabel(ctx, d)
	}
}

// setGroup sets the group, if it is still where the plan holds.
func (s *seek) setGroup(ctx context.Context, d *doing) (Sought, error) {
	at := s.detail.Position
	for range 10 {
		if what := s.passed(at); what != "" && !d.anyway {
			return Sought{From: at, To: at}, &MovedError{Plan: s.summary, What: what}
		}
		reply, err := script.Seek.Run(ctx, s.client, []string{s.reader.Stream}, s.reader.Group, s.to.String(), s.read, at).Slice()
		var from, to string
		switch {
		case err != nil:
			return Sought{From: at}, explain("setting "+s.reader.String(), err)
		case !script.Scan(reply, &from, &to):
			return Sought{From: at}, explain("setting "+s.reader.String(), entries.ErrReply)
		case from == at:
			return Sought{From: from, To: to}, nil
		}
		at = from
	}
	return Sought{From: at, To: at}, explain("setting "+s.reader.String(), errContended)
}

// setLabel sets the offset of the label, if it is still where the plan holds.
func (s *seek) setLabel(ctx context.Context, d *doing) (done Sought, err error) {
	err = s.admin.edit(ctx, s.store, s.reader.Label, func(now string) (string, error) {
		done = Sought{From: now, To: s.to.String()}
		if what := s.passed(now); what != "" && !d.anyway {
			done.To = now
			return "", &MovedError{Plan: s.summary, What: what}
		}
		return done.To, nil
	})
	return done, err
}

func (s *seek) order(d *doing) *SeekOrder {
	return &SeekOrder{Op: rand.Text(), To: s.to.String(), By: d.who, Why: d.why, At: MillisOf(time.Now())}
}

// tell gives the order to the agents, and waits until all of them have obeyed.
func (s *seek) tell(ctx context.Context, d *doing) (Sought, error) {
	done := Sought{From: s.detail.Position, To: s.to.String()}
	order := s.order(d)
	if err := s.admin.editControl(ctx, s.reader, func(c *Control) { c.Seek = order }); err != nil {
		return done, err
	}
	// An order that stays would be obeyed by a process that starts much later.
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), obeyWithin)
		defer cancel()
		_ = s.admin.editControl(after, s.reader, func(c *Control) {
			if c.Seek != nil && c.Seek.Op == order.Op {
				c.Seek = nil
			}
		})
	}()
	var refused []string
	for deadline := time.Now().Add(obeyWithin); ; {
		seen, err := s.admin.look(ctx)
		if err == nil {
			done.Agents, done.Obeyed, refused = obeyed(seen.present[s.reader], order.Op)
			if done.Agents == done.Obeyed+len(refused) && done.Agents > 0 {
				break
			}
		}
		if time.Now().After(deadline) || !task.Sleep(ctx, obeyEvery) {
			if err == nil {
				err = ctx.Err()
			}
			return done, errors.Join(fmt.Errorf("admin: %d of %d consumers have gone there within %v; the others were told, and do not answer: look at their Health", done.Obeyed, done.Agents, obeyWithin), err)
		}
	}
	if len(refused) > 0 {
		slices.Sort(refused)
		return done, fmt.Errorf("admin: %d of %d consumers could not go there: %s", len(refused), done.Agents, refused[0])
	}
	return done, nil
}

// obeyed counts the consumers that have obeyed an order, and has why others could not.
func obeyed(members []member, op string) (agents, did int, refused []string) {
	for _, m := range members {
		agents++
		switch {
		case m.Seek != op:
		case m.SeekError != "":
			refused = append(refused, m.SeekError)
		default:
			did++
		}
	}
	return agents, did, refused
}
