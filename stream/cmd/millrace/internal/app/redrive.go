package app

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
)

// redrive are the flags of redrive.
type redrive struct {
	consent
	letters letters
	config  admin.RedriveConfig
	rate    int
	behind  int64
}

// redrivenView is the result of a redrive, as it is printed.
type redrivenView struct {
	Planned  int64 `json:"planned"`
	Moved    int64 `json:"moved"`
	Unsure   int64 `json:"unsure"`
	Gone     int64 `json:"gone"`
	Left     int64 `json:"left"`
	Returned int64 `json:"returned"`
}

func (c *cli) redrive() *cobra.Command {
	var r redrive
	command := c.command(spec{
		use: "redrive TOPIC", short: "Send dead letters back to the readers that gave them up.",
		more: "Only the reader that gave an entry up handles it again; others pass it. A redrive stops by itself when\n" +
			"its entries fail again. After Ctrl-C, or an error, the same command goes on.",
		examples: []string{
			"millrace redrive orders --cause 'connection refused'",
			"millrace redrive orders --cause 'connection refused' --rate 50 --apply --by ada --why 'partner is back'",
			"millrace redrive orders --reader billing --wait-while-behind 1000 --apply --yes --why 'nightly retry'",
		},
		rights: "~TOPIC ~{TOPIC}:dead +eval +evalsha +xrange +xrevrange +xadd +xdel +xinfo|groups +xinfo|stream; --older-than +time",
		exits:  []int{exitRefused}, complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error { return r.run(ctx, s, args[0]) },
	})
	flags := command.Flags()
	r.letters.flags(flags)
	flags.IntVar(&r.config.MaxRedrives, "max-redrives", admin.DefaultMaxRedrives, "letters that were redriven so `often` stay")
	flags.BoolVar(&r.config.Everybody, "everybody", false, "give the entries to each reader of the topic")
	flags.StringVar(&r.config.ToGroup, "to-group", "", "give the entries to this `group`, for a reader that is no more")
	flags.StringVar(&r.config.To, "to", "", "put the entries into another `stream`")
	flags.BoolVar(&r.config.AlsoUndecodable, "also-undecodable", false, "take letters that could not be decoded, too")
	flags.IntVar(&r.rate, "rate", 0, "`letters` a second (default as many as go)")
	flags.Int64Var(&r.behind, "wait-while-behind", 0, "hold back while a reader is more `entries` behind")
	r.flags(command)
	return command
}

func (r *redrive) run(ctx context.Context, s *session, topic string) error {
	if r.rate < 0 || r.behind < 0 {
		return usage(errors.New("--rate and --wait-while-behind are numbers above 0"))
	}
	err := r.check(s, r.apply)
	if err != nil {
		return err
	}
	if r.config.Where, err = r.letters.where(s.Now()); err != nil {
		return err
	}
	plan, err := s.admin.Redrive(ctx, topic, r.config)
	if err != nil {
		return err
	}
	return carryOut(ctx, s, &r.consent, plan, func(done admin.Redriven) (any, string) {
		text := done.String() + "."
		if done.Left > 0 {
			text += " Same command again goes on."
		}
		return redrivenView(done), text
	}, admin.Rate(r.rate), admin.WaitWhileBehind(r.behind))
}

// droppedView is the result of a drop, as it is printed.
type droppedView struct {
	Planned int64 `json:"planned"`
	Deleted int64 `json:"deleted"`
	Unsure  int64 `json:"unsure"`
	Gone    int64 `json:"gone"`
	Left    int64 `json:"left"`
}

func (c *cli) drop() *cobra.Command {
	var (
		k consent
		l letters
	)
	command := c.command(spec{
		use: "drop TOPIC", short: "Delete dead letters for ever.",
		more: "Export them first if they may be missed: millrace export '{TOPIC}:dead'.",
		examples: []string{
			"millrace drop orders --redrives 3",
			"millrace drop orders --cause 'field \"cents\" is not a number' --apply --why 'mended by hand'",
			"millrace drop orders --older-than 720h --apply --yes --why 'kept for 30 days'",
		},
		rights: "~{TOPIC}:dead +eval +evalsha +xrange +xrevrange +xdel; --older-than +time",
		exits:  []int{exitRefused}, complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			if err := k.check(s, k.apply); err != nil {
				return err
			}
			where, err := l.where(s.Now())
			if err != nil {
				return err
			}
			plan, err := s.admin.Drop(ctx, args[0], where)
			if err != nil {
				return err
			}
			return carryOut(ctx, s, &k, plan, func(done admin.Dropped) (any, string) {
				return droppedView(done), done.String() + "."
			})
		},
	})
	l.flags(command.Flags())
	k.flags(command)
	return command
}
