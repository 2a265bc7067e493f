package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// soughtView is the result of a seek, as it is printed.
type soughtView struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Agents  int    `json:"agents"`
	Obeyed  int    `json:"obeyed"`
	Waiting bool   `json:"waiting"`
}

func (c *cli) seek() *cobra.Command {
	var (
		k  = consent{emptyIsSomething: true}
		to string
	)
	command := c.command(spec{
		use: "seek TOPIC READER", short: "Set a group or label to another place.",
		more: "Consumers with an agent finish what is at work, and go on from there. To feed old entries to a new handler,\n" +
			"give it a group or label of its own with stream.WithStart.",
		examples: []string{
			"millrace seek orders billing --to '2026-11-28 10:00'",
			"millrace seek orders billing --to 1795827996968-0 --apply --by ada --why 'bad deploy'",
			"millrace seek orders label:search --to begin --apply --yes --unattended --why 'index is empty'",
		},
		rights: rightsControl + "; a group ~TOPIC +xgroup|setid; a label ~millrace:offsets",
		exits:  []int{exitRefused}, complete: completeReader,
		run: func(ctx context.Context, s *session, args []string) error {
			if to == "" {
				return usage(errors.New("say where to with --to: an ID, a time, an age such as 15m, begin or end"))
			}
			if err := k.check(s, k.apply); err != nil {
				return err
			}
			place, err := admin.ParsePlace(to, s.now())
			if err != nil {
				return err
			}
			r, err := s.reader(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			plan, err := s.admin.Seek(ctx, r, place)
			if err != nil {
				return err
			}
			return carryOut(ctx, s, &k, plan, func(done admin.Sought) (any, string) {
				return soughtView(done), soughtText(r, done)
			})
		},
	})
	command.Flags().StringVar(&to, "to", "", "`place`: an ID, a time such as \"2026-11-28 10:00\", an age such as 15m, begin or end; required")
	k.flags(command)
	k.unattended(command)
	return command
}

func soughtText(r admin.Reader, done admin.Sought) string {
	text := fmt.Sprintf("%s goes on behind %s", r, done.To)
	switch {
	case done.Waiting:
		return text + " when a consumer of it starts"
	case done.Agents > 0:
		return text + fmt.Sprintf("; %d of %s obeyed", done.Obeyed, display.Many(done.Agents, "consumer"))
	default:
		return text
	}
}
