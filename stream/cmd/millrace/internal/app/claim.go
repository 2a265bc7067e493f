package app

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

func (c *cli) claim() *cobra.Command {
	var (
		k  consent
		to string
	)
	command := c.command(spec{
		use: "claim TOPIC GROUP CONSUMER", short: "Take the pending entries of a dead consumer for the live ones.",
		more: "The consumers of the group take the entries within seconds; no delivery is counted.",
		examples: []string{
			"millrace claim orders billing web-0:99",
			"millrace claim orders billing web-0:99 --apply --why 'the machine is gone'",
			"millrace claim orders billing web-0:99 --to web-1:4711 --apply --yes --why 'the machine is gone'",
		},
		rights: rightsLook + "; +xinfo|consumers +eval +evalsha +xclaim", exits: []int{exitRefused}, complete: completeReader,
		run: func(ctx context.Context, s *session, args []string) error {
			if err := k.check(s, k.apply); err != nil {
				return err
			}
			plan, err := s.admin.Claim(ctx, admin.Group(args[0], groupName(args[1])), args[2], to)
			if err != nil {
				return err
			}
			return carryOut(ctx, s, &k, plan, func(done admin.Claimed) (any, string) {
				text := display.Entries(done.Claimed) + " claimed."
				if done.Gone > 0 {
					text += fmt.Sprintf(" %s more are in the stream no longer, and not pending any more.", display.Number(done.Gone))
				}
				return map[string]int64{"claimed": done.Claimed, "gone": done.Gone}, text
			})
		},
	})
	command.Flags().StringVar(&to, "to", "", "`consumer` that gets the entries (default whoever asks first)")
	k.flags(command)
	k.unattended(command)
	return command
}

func (c *cli) ack() *cobra.Command {
	var k consent
	command := c.command(spec{
		use: "ack TOPIC GROUP ID...", short: "Take entries out of the pending ones of a group, as if they were handled.",
		more:     "The entries stay in the stream, and no consumer of the group gets them again.",
		examples: []string{"millrace ack orders billing 1795827996968-0", "millrace ack orders billing 1795827996968-0 --apply --why 'handled by hand'", "millrace ack orders billing 1795827996968-0 1795827996968-1 --apply --yes --why 'handled by hand'"},
		rights:   "~TOPIC +xpending; --apply +xack", exits: []int{exitRefused}, complete: completeReader,
		run: func(ctx context.Context, s *session, args []string) error {
			if err := k.check(s, k.apply); err != nil {
				return err
			}
			plan, err := s.admin.Ack(ctx, admin.Group(args[0], groupName(args[1])), args[2:]...)
			if err != nil {
				return err
			}
			return carryOut(ctx, s, &k, plan, func(done admin.Acked) (any, string) {
				return map[string]int64{"acked": done.Acked}, display.Entries(done.Acked) + " acked."
			})
		},
	})
	k.flags(command)
	return command
}
