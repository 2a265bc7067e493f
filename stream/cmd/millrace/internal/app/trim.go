package app

import (
	"context"

	"github.com/spf13/cobra"

	"millrace/stream"
	"millrace/stream/cmd/millrace/internal/display"
)

func (c *cli) trim() *cobra.Command {
	var k consent
	command := c.command(spec{
		use: "trim TOPIC", short: "Drop the entries that every reader has passed.",
		more:     "No entry is dropped that a reader has not come to, or that is pending. It is done once; stream.NewTrimmer\ndoes it all the time.",
		examples: []string{"millrace trim orders", "millrace trim orders --apply --why 'memory is short'", "millrace trim orders --apply --yes --why 'nightly trim' -o json"},
		rights:   rightsLook + "; +hget +eval +evalsha +xtrim", exits: []int{exitRefused}, complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			if err := k.check(s, k.apply); err != nil {
				return err
			}
			plan, err := s.admin.Trim(ctx, args[0])
			if err != nil {
				return err
			}
			return carryOut(ctx, s, &k, plan, func(done stream.TrimResult) (any, string) {
				return map[string]int64{"trimmed": done.Trimmed}, display.Entries(done.Trimmed) + " dropped."
			})
		},
	})
	k.flags(command)
	return command
}
