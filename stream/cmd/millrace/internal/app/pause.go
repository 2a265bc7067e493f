package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// obeyWithin is how long a pause waits for the consumers, and obeyEvery how often it looks.
const (
	obeyWithin = 5 * time.Second
	obeyEvery  = 100 * time.Millisecond
)

// pausedView is the result of a pause or its end, as it is printed.
type pausedView struct {
	Topic   string  `json:"topic"`
	Reader  string  `json:"reader"`
	Until   string  `json:"until,omitempty"`
	Agents  int     `json:"agents"`
	Obeying int     `json:"obeying"`
	Seconds float64 `json:"seconds"`
}

const rightsControl = rightsLook + "; +xinfo|consumers; ~{millrace}:* +eval +evalsha +hget +hset +hdel"

func (c *cli) pause() *cobra.Command {
	var (
		k     consent
		lasts time.Duration
		until string
	)
	command := c.command(spec{
		use: "pause TOPIC READER", short: "Stop a group or label for a time.",
		more: "Handlers at work finish, and nothing new begins; it goes on by itself when the time is over. Only consumers\n" +
			"with an agent (admin.NewAgent) obey: it exits with 1 if one does not within 5 seconds. It is done at once,\n" +
			"without a plan.",
		examples: []string{
			"millrace pause orders billing --for 30m --why 'bad deploy'",
			"millrace pause orders billing --until 12:30 --by ada --why 'bad deploy'",
			"millrace pause orders label:search --until '2026-11-28 18:00' --why 'index is rebuilt'",
		},
		rights: rightsControl, exits: []int{exitRefused}, complete: completeReader,
		run: func(ctx context.Context, s *session, args []string) error {
			if err := k.check(s, true); err != nil {
				return err
			}
			lasts, err := pauseTime(lasts, until, s.now())
			if err != nil {
				return err
			}
			r, err := s.reader(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			standing, err := s.admin.Pause(ctx, r, lasts, k.by, k.why)
			if err != nil {
				return err
			}
			return s.awaitObeyed(ctx, standing)
		},
	})
	command.Flags().DurationVar(&lasts, "for", 0, "how long (`time`), such as 30m; this or --until is required")
	command.Flags().StringVar(&until, "until", "", "when it ends (`time`): 12:30, \"2026-11-28 18:00\" or RFC 3339")
	k.reasons(command)
	return command
}

func (c *cli) resume() *cobra.Command {
	var k consent
	command := c.command(spec{
		use: "resume TOPIC READER", short: "End the pause of a group or label.",
		more:     "It is done at once, without a plan.",
		examples: []string{"millrace resume orders billing --why 'fixed'", "millrace resume orders label:search --by ada --why 'index is there'", "millrace resume orders billing --why fixed -o json"},
		rights:   rightsControl, exits: []int{exitRefused}, complete: completeReader,
		run: func(ctx context.Context, s *session, args []string) error {
			if err := k.check(s, true); err != nil {
				return err
			}
			r, err := s.reader(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			standing, err := s.admin.Resume(ctx, r, k.by, k.why)
			if err != nil {
				return err
			}
			return s.awaitObeyed(ctx, standing)
		},
	})
	k.reasons(command)
	return command
}

// pauseTime returns how long a pause lasts, as the flags say.
func pauseTime(lasts time.Duration, until string, now time.Time) (time.Duration, error) {
	switch {
	case (lasts == 0) == (until == ""):
		return 0, usage(errors.New("say when it ends: give --for or --until"))
	case lasts < 0:
		return 0, usage(errors.New("--for is negative; give how long it lasts"))
	case lasts > 0:
		return lasts, nil
	}
	for _, form := range []string{"15:04", "15:04:05", "2006-01-02 15:04", "2006-01-02 15:04:05", time.RFC3339} {
		at, err := time.ParseInLocation(form, until, now.Location())
		if err != nil {
			continue
		}
		if at.Year() == 0 { // a time of day alone
			at = time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, now.Location())
		}
		if !at.After(now) {
			return 0, usage(fmt.Errorf("--until %s is over; give a time that comes, with the date if it is another day", until))
		}
		return at.Sub(now), nil
	}
	return 0, usage(fmt.Errorf("--until %q is no time; write 12:30, \"2026-11-28 18:00\" or 2026-11-28T18:00:00Z", until))
}

// awaitObeyed waits until all consumers do as they are told, and tells how many do.
func (s *session) awaitObeyed(ctx context.Context, standing admin.Standing) error {
	begun := time.Now()
	tick := time.NewTicker(obeyEvery)
	defer tick.Stop()
	for standing.Obeying < standing.Agents && time.Since(begun) < obeyWithin {
		select {
		case <-ctx.Done():
			return &codeError{exitInterrupted, errors.New("interrupted; the consumers were told, and obey when they see it")}
		case <-tick.C:
		}
		detail, err := s.admin.Reader(ctx, standing.Reader)
		if err != nil {
			return err
		}
		standing = detail.Standing
	}
	passed := time.Since(begun)
	view := pausedView{
		Topic: standing.Reader.Stream, Reader: standing.Reader.Address(),
		Agents: standing.Agents, Obeying: standing.Obeying, Seconds: passed.Seconds(),
	}
	done, end := "resumed", ""
	if standing.Paused != nil {
		until := standing.Paused.Until.Time()
		view.Until, done, end = utc(until), "paused", fmt.Sprintf("; goes on at %s by itself", s.clock(until))
	}
	how := "no consumer has an agent"
	if view.Agents > 0 {
		how = fmt.Sprintf("%d of %s obeyed in %s", view.Obeying, display.Many(view.Agents, "consumer"), display.Age(passed))
	}
	if err := s.result(view, done+": "+how+end); err != nil {
		return err
	}
	switch {
	case standing.Agents == 0 && standing.Paused != nil:
		return fmt.Errorf("no consumer of %s has an agent, so that nobody obeys; add admin.NewAgent to the program, or stop it", standing.Reader)
	case standing.Obeying < standing.Agents:
		return fmt.Errorf("%d of %s did not obey within %s; look at %s", standing.Agents-standing.Obeying, display.Many(standing.Agents, "consumer"), obeyWithin, standing.Reader)
	}
	return nil
}
