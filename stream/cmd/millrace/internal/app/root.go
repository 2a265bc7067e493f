package app

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"millrace/stream/cmd/millrace/internal/display"
)

// cli is one run of the command line: the flags that all commands have, and the commands.
type cli struct {
	*App
	out io.Writer // App.Out, and it knows when that is closed

	url, context, format string
	utc                  bool
	keyspace, audit      string
	offsets              []string
}

// chapter is a part of the list of commands.
type chapter struct {
	title    string
	commands []*cobra.Command
}

const rootShort = "Look at topics and consumers on Redis streams, and repair them."

// root makes the tree of commands.
func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use: "millrace", Short: rootShort,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := io.WriteString(c.out, command.Root().UsageString())
			return err
		},
	}
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVarP(&c.url, "url", "u", "", "address of the `server`: redis://, rediss://, several hosts for a cluster, ?master= for sentinels\n(default $MILLRACE_URL, then $REDIS_URL, then redis://127.0.0.1:6379)")
	flags.StringVarP(&c.context, "context", "c", "", "`name` of a server in ~/.config/millrace/contexts.json")
	flags.StringVarP(&c.format, "output", "o", display.FormatTable, "`format`: "+strings.Join(display.Formats, ", "))
	flags.BoolVar(&c.utc, "utc", false, "show and read times in UTC")
	flags.StringVar(&c.keyspace, "keyspace", "{millrace}", "beginning of the `keys` in which agents write")
	flags.StringVar(&c.audit, "audit", "", "`stream` to which each change is written, such as millrace:audit")
	flags.StringSliceVar(&c.offsets, "offsets", nil, "`keys` of the hashes with the offsets of labels (default millrace:offsets)")
	flags.BoolP("help", "h", false, "show the help of a command")
	chapters := c.chapters()
	for _, chapter := range chapters {
		root.AddCommand(chapter.commands...)
	}
	root.SetHelpFunc(func(command *cobra.Command, _ []string) {
		text := help(command)
		if command == root {
			text = rootHelp(root, chapters)
		}
		_, _ = io.WriteString(c.out, text)
	})
	root.SetUsageFunc(func(command *cobra.Command) error {
		_, err := io.WriteString(command.OutOrStderr(), rootHelp(root, chapters))
		return err
	})
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(display.Formats, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("context", c.completeContext)
	return root
}

func (c *cli) chapters() []chapter {
	return []chapter{
		{"Look", []*cobra.Command{c.ls(), c.top(), c.group(), c.pending(), c.peek(), c.tail(), c.get(), c.dead(), c.check()}},
		{"Change (print a plan; --apply does it)", []*cobra.Command{c.redrive(), c.drop(), c.seek(), c.trim(), c.claim(), c.ack(), c.forget()}},
		{"Change at once", []*cobra.Command{c.pause(), c.resume()}},
		{"Entries", []*cobra.Command{c.publish(), c.export(), c.importing()}},
		{"Else", []*cobra.Command{c.schema(), c.completionCommand(), c.versionCommand()}},
	}
}

func rootHelp(root *cobra.Command, chapters []chapter) string {
	var b strings.Builder
	fmt.Fprintln(&b, rootShort)
	for _, chapter := range chapters {
		fmt.Fprintf(&b, "\n%s:\n", chapter.title)
		for line := range strings.Lines(listed(chapter.commands)) {
			b.WriteString("  " + line)
		}
	}
	fmt.Fprintf(&b, "\nGlobal flags:\n  %s\n", strings.ReplaceAll(flagUsages(root.PersistentFlags()), "\n", "\n  "))
	fmt.Fprintln(&b, "\nmillrace COMMAND --help has examples, exit codes and the rights that a command takes.")
	return b.String()
}

func (c *cli) versionCommand() *cobra.Command {
	return c.command(spec{
		use: "version", short: "Print the version of this program.",
		examples: []string{"millrace version", "millrace version -o json", "millrace version | cat"},
		rights:   "none", local: true,
		run: func(context.Context, *session, []string) error {
			o := c.newOutput()
			if o.Format == display.FormatTable {
				return o.Printf("millrace %s\n", c.Version)
			}
			return o.JSON(map[string]string{"version": c.Version})
		},
	})
}
