package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// groupView is a reader with its consumers, as it is printed.
type groupView struct {
	Topic string `json:"topic"`
	readerView
	Members []memberView `json:"members"`
}

// memberView is a consumer, as it is printed.
type memberView struct {
	Consumer    string  `json:"consumer"`
	Pending     int64   `json:"pending"`
	IdleSeconds float64 `json:"idleSeconds"`
	Host        string  `json:"host,omitempty"`
	PID         int     `json:"pid,omitempty"`
	Version     string  `json:"version,omitempty"`
	Handled     *int64  `json:"handled,omitempty"`
	Failed      *int64  `json:"failed,omitempty"`
	State       string  `json:"state,omitempty"`

	idle time.Duration
}

func (c *cli) group() *cobra.Command {
	var w watch
	command := c.command(spec{
		use: "group TOPIC READER", short: "Show one group or label: lag, pending, consumers.",
		more:     "READER is the name of a group or a label; group:NAME and label:NAME tell them apart.",
		examples: []string{"millrace group orders billing", "millrace group orders label:search -o json", "millrace group orders billing -w 2s"},
		rights:   rightsLook + "; +xinfo|consumers", complete: completeReader,
		run: func(ctx context.Context, s *session, args []string) error {
			r, err := s.reader(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			return w.run(ctx, s, func(ctx context.Context, s *session) error { return s.showGroup(ctx, r) })
		},
	})
	w.flag(command.Flags())
	return command
}

func (s *session) showGroup(ctx context.Context, r admin.Reader) error {
	detail, err := s.admin.Reader(ctx, r)
	if err != nil {
		return err
	}
	view := groupView{Topic: r.Stream, readerView: s.viewReader(detail.Standing, usuallyBehind), Members: []memberView{}}
	for _, m := range detail.Members {
		view.Members = append(view.Members, s.viewMember(m))
	}
	if s.format != display.FormatTable {
		return s.out.JSON(view)
	}
	if err := s.headGroup(detail, view); err != nil {
		return err
	}
	rows := make([][]string, len(view.Members))
	for i, m := range view.Members {
		rows[i] = m.cells()
	}
	if err := s.out.Table([]string{"CONSUMER", ">PENDING", ">IDLE", ">HANDLED", ">FAILED", "HOST", "STATE"}, rows); err != nil {
		return err
	}
	if detail.Pending > 0 {
		s.say("Next: millrace pending %s %s --idle 1m", display.Clean(r.Stream), display.Clean(r.Group))
	}
	return nil
}

// headGroup prints the lines above the consumers.
func (s *session) headGroup(detail admin.ReaderDetail, view groupView) error {
	position := view.Position
	if position == "" {
		position = "an unknown place"
	}
	agents := "no agents"
	if detail.Agents > 0 {
		agents = fmt.Sprintf("%d of %d agents obey, %s (%s)", detail.Obeying, detail.Agents, display.Many(len(detail.Versions), "version"), strings.Join(detail.Versions, ", "))
	}
	lag := "unknown, " + display.Age(detail.Lag.Time)
	if detail.Lag.Known {
		lag = display.Number(detail.Lag.Entries) + " entries, " + display.Age(detail.Lag.Time)
	}
	lines := []string{
		s.out.Title(display.Clean(detail.Reader.String())) + " at " + position + ", " + display.Clean(agents),
		"  lag      " + lag,
	}
	if oldest := detail.OldestPending; oldest != nil {
		lines = append(lines, display.Clean(fmt.Sprintf("  pending  %s; the oldest %s, idle %s, delivered %s, with %s",
			display.Number(detail.Pending), oldest.ID, display.Age(oldest.Idle), display.Many(int(oldest.Deliveries), "time"), oldest.Consumer)))
	}
	if view.State != "" {
		lines = append(lines, "  state    "+view.State)
	}
	if detail.Paused != nil {
		lines = append(lines, display.Clean("  why      "+detail.Paused.Why))
	}
	return s.out.Printf("%s\n", strings.Join(lines, "\n"))
}

func (s *session) viewMember(m admin.Member) memberView {
	view := memberView{Consumer: m.Name, Pending: m.Pending, IdleSeconds: m.Idle.Seconds(), idle: m.Idle}
	if m.Process != nil {
		view.Host, view.PID, view.Version = m.Process.Host, m.Process.PID, m.Process.Version
	}
	if p := m.Presence; p != nil {
		view.Handled, view.Failed, view.State = &p.Handled, &p.Failed, "well"
		if p.Reason != "" {
			view.State = display.Clean(p.Reason)
		}
		if until := p.PausedUntil.Time(); until.After(s.Now()) && p.Reason == "" {
			view.State = "paused until " + s.clock(until)
		}
	}
	return view
}

func (m memberView) cells() []string {
	number := func(n *int64) string {
		if n == nil {
			return display.None
		}
		return display.Number(*n)
	}
	idle := display.None
	if m.idle >= 0 {
		idle = display.Age(m.idle)
	}
	return []string{display.Clean(m.Consumer), display.Number(m.Pending), idle, number(m.Handled), number(m.Failed), display.OrNone(display.Clean(m.Host)), display.OrNone(m.State)}
}
