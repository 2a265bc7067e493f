package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/server"
)

// completionWaits is how long a completion may take: a person has pressed a key and waits.
const completionWaits = 2 * time.Second

var shells = []string{"bash", "zsh", "fish", "powershell"}

func (c *cli) completionCommand() *cobra.Command {
	var command *cobra.Command
	command = c.command(spec{
		use: "completion SHELL", short: "Print a script for a shell that completes commands, topics and groups.",
		more: "SHELL is one of " + strings.Join(shells, ", ") + ". Topics and groups are asked from the server of\n" +
			"the command line, or of the environment.",
		examples: []string{"source <(millrace completion bash)", "millrace completion zsh > \"${fpath[1]}/_millrace\"", "millrace completion fish | source"},
		rights:   "none; a completion takes those of ls with --scan", local: true,
		run: func(_ context.Context, _ *session, args []string) error {
			root := command.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.out, true)
			case "zsh":
				return root.GenZshCompletion(c.out)
			case "fish":
				return root.GenFishCompletion(c.out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(c.out)
			}
			return usage(fmt.Errorf("%q is no shell that is known; give one of %s", args[0], strings.Join(shells, ", ")))
		},
	})
	command.ValidArgs, command.ValidArgsFunction = shells, nil
	return command
}

// completion turns a function that completes into one of cobra's. A server that does not answer
// completes nothing.
func (c *cli) completion(complete func(ctx context.Context, s *session, args []string, begun string) []string) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		s, err := c.open()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer s.close()
		ctx := command.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionWaits)
		defer cancel()
		return complete(ctx, s, args, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

func completeTopics(ctx context.Context, s *session, _ []string, begun string) (names []string) {
	for topic, err := range s.admin.Topics(ctx, escapePattern(begun)+"*", admin.WithScan()) {
		if err == nil {
			names = append(names, topic.Name)
		}
	}
	return names
}

// completeTopic completes the first argument.
func completeTopic(ctx context.Context, s *session, args []string, begun string) []string {
	if len(args) > 0 {
		return nil
	}
	return completeTopics(ctx, s, args, begun)
}

// completeReader completes a topic, and then a reader of it.
func completeReader(ctx context.Context, s *session, args []string, begun string) (names []string) {
	if len(args) != 1 {
		return completeTopic(ctx, s, args, begun)
	}
	standings, err := s.admin.Readers(ctx, args[0])
	if err != nil {
		return nil
	}
	for _, standing := range standings {
		name := standing.Reader.Group
		if name == "" {
			name = standing.Reader.Address()
		}
		if strings.HasPrefix(name, begun) {
			names = append(names, name)
		}
	}
	return names
}

// completeContext completes --context.
func (c *cli) completeContext(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
	list, err := server.Contexts(c.contextFile())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, one := range list {
		names = append(names, one.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// escapePattern returns the pattern that is a text and nothing else.
func escapePattern(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
