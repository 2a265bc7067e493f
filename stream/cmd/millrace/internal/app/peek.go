package app

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"millrace/stream"
	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// peek is the choice of entries that the flags of peek make.
type peek struct {
	filter filter
	span   span
	last   int64
	limit  int64
}

func (c *cli) peek() *cobra.Command {
	var p peek
	command := c.command(spec{
		use: "peek TOPIC", short: "Show entries of a stream; it touches nothing.",
		more: "Without flags these are the last 10. Field values are shown: that is what it is for.\n" +
			"--where looks through the whole stream, or the part that --since, --from and --to say.",
		examples: []string{"millrace peek orders", "millrace peek orders --last 2 --where user_id=42 -o ndjson", "millrace peek orders --from '2026-11-28 10:00' --to 15m --limit 100"},
		rights:   "~TOPIC +xinfo|stream +xrange +xrevrange; --since +time", complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error { return p.run(ctx, s, args[0]) },
	})
	flags := command.Flags()
	flags.Int64Var(&p.last, "last", 0, "the last `number` of these entries")
	flags.Int64Var(&p.limit, "limit", 0, "the first `number` of these entries")
	p.span.flags(flags)
	p.filter.flag(flags)
	return command
}

func (p *peek) run(ctx context.Context, s *session, topic string) error {
	if p.last < 0 || p.limit < 0 || p.last > 0 && p.limit > 0 {
		return usage(errors.New("give --last or --limit, and a number above 0"))
	}
	if err := p.filter.parse(); err != nil {
		return err
	}
	span, err := p.span.parse(s.now())
	if err != nil {
		return err
	}
	last := p.last
	if last == 0 && p.limit == 0 && !p.span.given() && len(p.filter.parts) == 0 {
		last = 10
	}
	if last > 0 && !p.span.given() && len(p.filter.parts) == 0 {
		span = admin.Last(last)
	}
	printed := &display.List{Output: s.out}
	kept, shown := []stream.Entry{}, int64(0)
	for e, err := range s.admin.Entries(ctx, topic, span) {
		if err != nil {
			return err
		}
		if !p.filter.matches(e.Fields) {
			continue
		}
		if last > 0 {
			if kept = append(kept, e); int64(len(kept)) > last {
				kept = kept[1:]
			}
			continue
		}
		if err := printed.Add(viewEntry(e), func() string { return s.text(e, false) }); err != nil {
			return err
		}
		if shown++; shown == p.limit {
			break
		}
	}
	for _, e := range kept {
		shown++
		if err := printed.Add(viewEntry(e), func() string { return s.text(e, false) }); err != nil {
			return err
		}
	}
	if shown == 0 {
		s.say("No entry is of this kind.")
	}
	return printed.End()
}

func (c *cli) tail() *cobra.Command {
	var f filter
	command := c.command(spec{
		use: "tail TOPIC...", short: "Show new entries as they come, until Ctrl-C.",
		more:     "A stream need not exist yet. Field values are shown: that is what it is for.",
		examples: []string{"millrace tail orders", "millrace tail orders payments --where user_id=42", "millrace tail orders -o ndjson | head -1"},
		rights:   "~TOPIC +xinfo|stream +xread", complete: completeTopics,
		run: func(ctx context.Context, s *session, args []string) error {
			if err := f.parse(); err != nil {
				return err
			}
			printed := &display.List{Output: s.out}
			s.say("Waiting for entries of %s; Ctrl-C ends it.", display.Clean(strings.Join(args, ", ")))
			for e, err := range s.admin.Tail(ctx, args...) {
				if err != nil {
					return err
				}
				if !f.matches(e.Fields) {
					continue
				}
				view := viewEntry(e)
				view.Topic = e.Stream
				if err := printed.Add(view, func() string { return s.text(e, len(args) > 1) }); err != nil {
					return err
				}
			}
			if err := printed.End(); err != nil {
				return err
			}
			return &codeError{code: exitInterrupted}
		},
	})
	f.flag(command.Flags())
	return command
}
