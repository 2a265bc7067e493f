package app

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

func (c *cli) forget() *cobra.Command {
	var (
		k        consent
		consumer string
	)
	command := c.command(spec{
		use: "forget TOPIC [READER]", short: "Remove a group, a label, a consumer, or a topic from the registry.",
		more: "Of a group, its place and its pending entries are lost; of a label, its offset. A topic alone is removed from the\n" +
			"registry: its stream, groups and dead letters stay.",
		examples: []string{
			"millrace forget orders old-mail",
			"millrace forget orders billing --consumer web-0:99 --apply --why 'the machine is gone'",
			"millrace forget orders label:search --apply --yes --why 'search was removed'",
		},
		rights: rightsControl + "; ~TOPIC +xgroup|destroy +xgroup|delconsumer; a label ~millrace:offsets",
		exits:  []int{exitRefused}, complete: completeReader,
		run: func(ctx context.Context, s *session, args []string) error {
			if err := k.check(s, k.apply); err != nil {
				return err
			}
			plan, err := s.forgetting(ctx, args, consumer)
			if err != nil {
				return err
			}
			return carryOut(ctx, s, &k, plan, func(done admin.Removed) (any, string) {
				text := "It is removed."
				if done.Pending > 0 {
					text = "It is removed, with " + display.Entries(done.Pending) + " that were pending in it."
				}
				return map[string]any{"gone": done.Gone, "pending": done.Pending}, text
			})
		},
	})
	command.Flags().StringVar(&consumer, "consumer", "", "remove this consumer of the group alone (`name`)")
	k.flags(command)
	k.unattended(command)
	return command
}

// forgetting returns the plan for the group, label, consumer or topic that is named.
func (s *session) forgetting(ctx context.Context, args []string, consumer string) (*admin.Plan[admin.Removed], error) {
	if len(args) == 1 {
		if consumer != "" {
			return nil, usage(errors.New("--consumer needs the group: millrace forget TOPIC GROUP --consumer NAME"))
		}
		return s.admin.ForgetTopic(ctx, args[0])
	}
	r, err := s.reader(ctx, args[0], args[1])
	if err != nil {
		return nil, err
	}
	if consumer != "" {
		return s.admin.RemoveConsumer(ctx, r, consumer)
	}
	if r.Group != "" {
		plan, err := s.admin.RemoveGroup(ctx, r)
		if !errors.Is(err, admin.ErrNoReader) {
			return plan, err
		}
	}
	return s.admin.Forget(ctx, r) // a group that is in the registry alone, too
}
