package app

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// pendingView is a pending entry, as it is printed.
type pendingView struct {
	ID          string  `json:"id"`
	At          string  `json:"at"`
	Consumer    string  `json:"consumer"`
	IdleSeconds float64 `json:"idleSeconds"`
	Deliveries  int64   `json:"deliveries"`

	idle time.Duration
}

func (c *cli) pending() *cobra.Command {
	var (
		idle     time.Duration
		consumer string
		limit    int
		w        watch
	)
	command := c.command(spec{
		use: "pending TOPIC GROUP", short: "List entries that were delivered and not acked.",
		examples: []string{"millrace pending orders billing", "millrace pending orders billing --idle 5m", "millrace pending orders billing --consumer web-1:4711 -o ndjson"},
		rights:   "~TOPIC +xpending", complete: completeReader,
		run: func(ctx context.Context, s *session, args []string) error {
			return w.run(ctx, s, func(ctx context.Context, s *session) error {
				opts := []admin.PendingOption{admin.Idle(idle)}
				if consumer != "" {
					opts = append(opts, admin.On(consumer))
				}
				return s.showPending(ctx, admin.Group(args[0], groupName(args[1])), limit, opts)
			})
		},
	})
	command.Flags().DurationVar(&idle, "idle", 0, "only entries that were delivered, or renewed, so long ago (`time`)")
	command.Flags().StringVar(&consumer, "consumer", "", "only entries of this consumer (`name`)")
	command.Flags().IntVar(&limit, "limit", 100, "`number` of entries at most; 0 is all")
	w.flag(command.Flags())
	return command
}

func (s *session) showPending(ctx context.Context, r admin.Reader, limit int, opts []admin.PendingOption) error {
	var views []pendingView
	more := false
	for p, err := range s.admin.Pending(ctx, r, opts...) {
		if err != nil {
			return err
		}
		if more = limit > 0 && len(views) == limit; more {
			break
		}
		views = append(views, pendingView{p.ID, stamp(p.ID), p.Consumer, p.Idle.Seconds(), p.Deliveries, p.Idle})
	}
	err := display.Emit(s.out, []string{"ID", "ADDED", "CONSUMER", ">IDLE", ">DELIVERIES"}, views, func(p pendingView) []string {
		return []string{p.ID, s.instant(admin.TimeOf(p.ID)), display.Clean(p.Consumer), display.Age(p.idle), display.Number(p.Deliveries)}
	})
	switch {
	case more:
		s.say("There are more; --limit 0 shows all.")
	case len(views) == 0:
		s.say("Nothing of this kind is pending.")
	}
	return errors.Join(err, ctx.Err())
}
