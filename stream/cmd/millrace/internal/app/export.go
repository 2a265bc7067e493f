package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

func (c *cli) export() *cobra.Command {
	var p span
	command := c.command(spec{
		use: "export TOPIC", short: "Print the entries of a stream as ndjson, which import reads.",
		more:     "Each line has the ID, the time and the fields in their order, repeated names and bytes included, whatever --output\nsays. Field values are shown: that is what it is for.",
		examples: []string{"millrace export orders > orders.ndjson", "millrace export orders --since 1h | gzip > orders.ndjson.gz", "millrace export '{orders}:dead' > letters.ndjson"},
		rights:   "~TOPIC +xinfo|stream +xrange; --since +time", complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) error {
			span, err := p.parse(s.now())
			if err != nil {
				return err
			}
			n, err := s.admin.Export(ctx, args[0], span, s.out)
			if n > 0 && !errors.Is(err, errPipe) {
				s.say("%s printed.", display.Entries(n))
			}
			return err
		},
	})
	p.flags(command.Flags())
	return command
}

func (c *cli) importing() *cobra.Command {
	var (
		k    consent
		rate int
	)
	command := c.command(spec{
		use: "import TOPIC [FILE]", short: "Add the entries of an export to a stream.",
		more: "Without FILE it reads the standard input. The entries get new IDs. A repeat of the same import adds nothing twice\n" +
			"within 24 hours, so that after Ctrl-C, or an error, the same command goes on. It is done at once, without a plan.",
		examples: []string{"millrace import orders orders.ndjson --why 'replay of May'", "gunzip < orders.ndjson.gz | millrace import orders-replay --why 'replay of May'", "millrace import orders orders.ndjson --rate 500 --by ada --why 'replay of May'"},
		rights:   "~TOPIC ~{TOPIC}:once:* +eval +evalsha +xadd +set +get +exists", exits: []int{exitRefused}, complete: completeTopic,
		run: func(ctx context.Context, s *session, args []string) (err error) {
			if rate < 0 {
				return usage(errors.New("--rate is a number above 0"))
			}
			if err := k.check(s, true); err != nil {
				return err
			}
			input := s.In
			if len(args) == 2 {
				file, err := os.Open(args[1])
				if err != nil {
					return fmt.Errorf("opening the file: %w", err)
				}
				defer func() { _ = file.Close() }()
				input = file
			}
			bar := &bar{session: s}
			done, err := s.admin.Import(ctx, args[0], contextReader(ctx, input), append(k.options(), admin.Rate(rate), admin.Report(bar.show))...)
			bar.clear()
			if done.Lines == 0 && err != nil {
				return ended(ctx, err)
			}
			text := fmt.Sprintf("%d lines read, %s of them in %s.", done.Lines, display.Entries(done.Entries), args[0])
			return errors.Join(s.result(map[string]int64{"entries": done.Entries, "lines": done.Lines}, text), ended(ctx, err))
		},
	})
	command.Flags().IntVar(&rate, "rate", 0, "`entries` a second (default as many as go)")
	k.reasons(command)
	return command
}
