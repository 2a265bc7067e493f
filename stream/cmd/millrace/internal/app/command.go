package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// spec is the description of a command, of which its help is made.
type spec struct {
	// use is the name and the arguments, in upper case: peek TOPIC. Those that may be left out
	// are in brackets, and one that may be repeated ends with dots.
	use string
	// short is one sentence, and more the text below it.
	short, more string
	examples    []string
	// rights are the rights of Redis that it takes, as in an ACL.
	rights string
	// exits are its exit codes, apart from those that all have.
	exits []int
	// complete completes an argument; nil does not.
	complete func(ctx context.Context, s *session, args []string, begun string) []string
	// run does it. The session is nil if local is set: the command asks no server then.
	run   func(ctx context.Context, s *session, args []string) error
	local bool
}

// rightsLook are the rights of most commands that look at readers.
const rightsLook = "~* +hgetall +mget +time +multi +exec +xinfo|stream +xinfo|groups +xlen +xpending +xrange"

// The annotations of a command that its help is made of.
const (
	annotationRights = "rights"
	annotationExits  = "exits"
)

// command makes a command.
func (c *cli) command(s spec) *cobra.Command {
	command := &cobra.Command{
		Use: s.use, Short: s.short, Long: s.more, Example: strings.Join(s.examples, "\n"),
		Args:                  arguments(s.use),
		DisableFlagsInUseLine: true,
		Annotations:           map[string]string{annotationRights: s.rights, annotationExits: exitLine(s.exits)},
		ValidArgsFunction:     cobra.NoFileCompletions,
	}
	command.RunE = func(command *cobra.Command, args []string) error {
		var open *session
		if !s.local {
			var err error
			if open, err = c.open(); err != nil {
				return ranError{err}
			}
			defer open.close()
		}
		if err := s.run(command.Context(), open, args); err != nil {
			return ranError{err}
		}
		return nil
	}
	if s.complete != nil {
		command.ValidArgsFunction = c.completion(s.complete)
	}
	return command
}

func exitLine(codes []int) string {
	codes = append([]int{exitDone, exitError, exitUsage, exitInterrupted}, codes...)
	slices.Sort(codes)
	texts := make([]string, len(codes))
	for i, code := range codes {
		texts[i] = fmt.Sprintf("%d %s", code, exitTexts[code])
	}
	return strings.Join(texts, ", ")
}

// arguments checks that there are as many arguments as a use has.
func arguments(use string) cobra.PositionalArgs {
	words := strings.Fields(use)[1:]
	least, most := 0, len(words)
	for _, word := range words {
		if !strings.HasPrefix(word, "[") {
			least++
		}
		if strings.Contains(word, "...") {
			most = -1
		}
	}
	return func(command *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("give %s: %s", words[len(args)], command.UseLine())
		case most >= 0 && len(args) > most:
			return fmt.Errorf("%q is one argument too many: %s", args[most], command.UseLine())
		case slices.Contains(args, ""):
			return errors.New("an argument is empty; give a name")
		}
		return nil
	}
}

// help prints the help of one command.
func help(command *cobra.Command) string {
	var b strings.Builder
	part := func(title, text string) {
		if text = strings.TrimRight(text, "\n"); text != "" {
			fmt.Fprintf(&b, "\n%s:\n  %s\n", title, strings.ReplaceAll(text, "\n", "\n  "))
		}
	}
	fmt.Fprintln(&b, command.Short)
	if command.Long != "" {
		fmt.Fprintln(&b, "\n"+command.Long)
	}
	part("Usage", command.UseLine())
	if command.HasAvailableSubCommands() {
		part("Commands", listed(command.Commands()))
	}
	part("Examples", command.Example)
	part("Flags", flagUsages(command.LocalNonPersistentFlags()))
	part("Global flags", flagUsages(command.Root().PersistentFlags()))
	part("Exit codes", command.Annotations[annotationExits])
	part("Rights", strings.ReplaceAll(command.Annotations[annotationRights], "; ", "\n"))
	return b.String()
}

func flagUsages(flags *pflag.FlagSet) string {
	lines := strings.Split(strings.TrimRight(flags.FlagUsages(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "  ")
	}
	return strings.Join(lines, "\n")
}

// listed is a list of commands, each with its sentence.
func listed(commands []*cobra.Command) string {
	var b strings.Builder
	for _, command := range commands {
		if !command.Hidden {
			fmt.Fprintf(&b, "%-11s %s\n", command.Name(), command.Short)
		}
	}
	return b.String()
}
