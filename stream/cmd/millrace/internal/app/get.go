package app

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// traceView is an entry with its fates, as it is printed.
type traceView struct {
	entryView
	Gone    bool         `json:"gone,omitempty"`
	Readers []tracedView `json:"readers"`
}

// tracedView is the fate of an entry with one reader, as it is printed.
type tracedView struct {
	Reader string `json:"reader"`
	Fate   string `json:"fate"`
	Detail string `json:"detail,omitempty"`
}

func (c *cli) get() *cobra.Command {
	var dead string
	command := c.command(spec{
		use: "get TOPIC ID", short: "Show one entry, and what each reader has made of it.",
		more:     "Field values are shown: that is what it is for. It exits with 1 if the stream does not have the entry.",
		examples: []string{"millrace get orders 1795827996968-0", "millrace get orders 1795827996968-0 -o json", "millrace get orders 1795827996968-0 --dead-letters orders:failed"},
		rights:   rightsLook, complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			trace, err := s.admin.Trace(ctx, args[0], args[1], admin.FromDeadLetters(dead))
			if err != nil {
				return err
			}
			view := traceView{entryView: viewEntry(trace.Entry), Gone: trace.Gone, Readers: []tracedView{}}
			for _, traced := range trace.Readers {
				view.Readers = append(view.Readers, viewTraced(traced))
			}
			if s.format != display.FormatTable {
				err = s.out.JSON(view)
			} else {
				err = s.showTrace(trace, view)
			}
			if err == nil && trace.Gone {
				err = fmt.Errorf("%s has no entry %s; it was trimmed or deleted, or never was there", trace.Entry.Stream, trace.Entry.ID)
			}
			return err
		},
	})
	command.Flags().StringVar(&dead, "dead-letters", "", "`stream` of letters that is looked at too (default those that are known)")
	return command
}

func (s *session) showTrace(trace admin.Trace, view traceView) error {
	if err := s.out.Printf("%s", s.text(trace.Entry, false)); err != nil {
		return err
	}
	rows := make([][]string, len(view.Readers))
	for i, r := range view.Readers {
		rows[i] = []string{display.Clean(spokenAddress(r.Reader)), r.Fate, display.OrNone(display.Clean(r.Detail))}
	}
	return s.out.Table([]string{"READER", "FATE", "DETAIL"}, rows)
}

func viewTraced(traced admin.Traced) tracedView {
	view := tracedView{Reader: traced.Reader.Address(), Fate: string(traced.Fate)}
	switch {
	case traced.Pending != nil:
		p := traced.Pending
		view.Detail = fmt.Sprintf("with %s, delivered %s, idle %s", p.Consumer, display.Many(int(p.Deliveries), "time"), display.Age(p.Idle))
	case traced.Letter != nil:
		view.Detail = traced.Letter.ID + " of " + traced.Letter.Stream
	}
	return view
}
