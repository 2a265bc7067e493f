package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"millrace/codec/schema"
	"millrace/stream/cmd/millrace/internal/display"
)

// breakView is a break of a contract, as it is printed.
type breakView struct {
	Direction string `json:"direction"`
	Path      string `json:"path"`
	Reason    string `json:"reason"`
}

func (c *cli) schema() *cobra.Command {
	command := &cobra.Command{
		Use: "schema COMMAND", Short: "Look at descriptions of events, and at their changes: check, show.", DisableFlagsInUseLine: true,
		Long: "A description is a JSON Schema document, as package codec/schema makes it of a codec.",
		Example: "millrace schema check git:HEAD~1:schemas/orders.json schemas/orders.json\n" +
			"millrace schema check --mode full old.json new.json\nmillrace schema show schemas/orders.json",
		Annotations: map[string]string{annotationRights: "none", annotationExits: exitLine([]int{exitFound})},
		Args:        cobra.NoArgs,
		RunE:        func(*cobra.Command, []string) error { return errors.New("give one of check, show") },
	}
	command.AddCommand(c.schemaCheck(), c.schemaShow())
	return command
}

const schemaSources = "OLD and NEW are files, - for the standard input, or git:REVISION:PATH for a file as it was, with\nthe path from the root of the repository."

func (c *cli) schemaCheck() *cobra.Command {
	var mode string
	command := c.command(spec{
		use: "check OLD NEW", short: "Tell which readers a change of an event breaks.",
		more: schemaSources + "\nbackward: consumers of NEW read the entries of OLD, for which consumers are deployed first.\n" +
			"forward: consumers of OLD read the entries of NEW. full is both.",
		examples: []string{
			"millrace schema check git:HEAD~1:schemas/orders.json schemas/orders.json", "millrace schema check --mode full old.json new.json",
			"millrace schema check --mode forward old.json new.json -o ndjson",
		},
		rights: "none", exits: []int{exitFound}, local: true,
		run: func(ctx context.Context, _ *session, args []string) error {
			before, err := c.document(ctx, args[0])
			if err != nil {
				return err
			}
			after, err := c.document(ctx, args[1])
			if err != nil {
				return err
			}
			breaks := []breakView{}
			add := func(direction string, reader, writer schema.Document) {
				for _, b := range schema.Accepts(reader, writer) {
					breaks = append(breaks, breakView{direction, b.Path, b.Reason})
				}
			}
			switch mode {
			case "backward", "forward", "full":
			default:
				return usage(fmt.Errorf("--mode %s: give backward, forward or full", mode))
			}
			if mode != "forward" {
				add("backward", after, before)
			}
			if mode != "backward" {
				add("forward", before, after)
			}
			return c.showBreaks(breaks)
		},
	})
	command.Flags().StringVar(&mode, "mode", "backward", "`direction`: backward, forward, full")
	return command
}

func (c *cli) showBreaks(breaks []breakView) error {
	o := c.newOutput()
	if o.Format == display.FormatTable && len(breaks) == 0 {
		return o.Printf("No reader is broken.\n")
	}
	err := display.Emit(o, []string{"DIRECTION", "PART", "REASON"}, breaks, func(b breakView) []string {
		return []string{b.Direction, display.OrNone(display.Clean(b.Path)), display.Clean(b.Reason)}
	})
	if err == nil && len(breaks) > 0 {
		err = &codeError{code: exitFound}
	}
	return err
}

func (c *cli) schemaShow() *cobra.Command {
	return c.command(spec{
		use: "show FILE", short: "Print a description, once it has been read as one.",
		more:     "FILE is a file, - for the standard input, or git:REVISION:PATH.",
		examples: []string{"millrace schema show schemas/orders.json", "millrace schema show git:HEAD~1:schemas/orders.json", "go run ./cmd/schema | millrace schema show -"},
		rights:   "none", local: true,
		run: func(ctx context.Context, _ *session, args []string) error {
			d, err := c.document(ctx, args[0])
			if err != nil {
				return err
			}
			return c.newOutput().Printf("%s", d.JSON())
		},
	})
}

// document reads a description.
func (c *cli) document(ctx context.Context, source string) (schema.Document, error) {
	var (
		text []byte
		err  error
	)
	if place, inGit := strings.CutPrefix(source, "git:"); inGit {
		if strings.HasPrefix(place, "-") || !strings.Contains(place, ":") {
			return schema.Document{}, usage(fmt.Errorf("%s: give git:REVISION:PATH, such as git:HEAD~1:schemas/orders.json", source))
		}
		if text, err = exec.CommandContext(ctx, "git", "show", place).Output(); err != nil { //nolint:gosec // an object of git's, and no option
			return schema.Document{}, fmt.Errorf("%s: git does not have it: %w", source, err)
		}
	} else if source == "-" {
		text, err = io.ReadAll(io.LimitReader(c.In, 1<<24))
	} else {
		text, err = os.ReadFile(source) //nolint:gosec // the user's own file
	}
	if err != nil {
		return schema.Document{}, err
	}
	d, err := schema.Parse(text)
	if err != nil {
		return schema.Document{}, fmt.Errorf("%s: %w", source, err)
	}
	return d, nil
}
