package app

import (
	"context"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// findingView is a finding, as it is printed.
type findingView struct {
	Level  string `json:"level"`
	About  string `json:"about"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

func (c *cli) check() *cobra.Command {
	var scan bool
	var w watch
	command := c.command(spec{
		use: "check", short: "Tell what is wrong on this server, and what to do about it.",
		more:     "It looks at the topics of the registry; without a registry, at all streams. FAIL is that entries are lost or not\nhandled, or can be; WARN is that somebody should look. It exits with 3 if there is one of these.",
		examples: []string{"millrace check", "millrace check --scan -o ndjson", "millrace check -w 1m"},
		rights:   rightsLook + "; +info +config|get +xinfo|consumers +memory|usage; with a scan +scan", exits: []int{exitFound},
		run: func(ctx context.Context, s *session, _ []string) error {
			return w.run(ctx, s, func(ctx context.Context, s *session) error { return s.showFindings(ctx, scan) })
		},
	})
	command.Flags().BoolVar(&scan, "scan", false, "look for streams among all keys, and not only in the registry")
	w.flag(command.Flags())
	return command
}

func (s *session) showFindings(ctx context.Context, scan bool) error {
	if !scan {
		registered, err := s.hasRegistry(ctx)
		if err != nil {
			return err
		}
		scan = !registered
	}
	var opts []admin.TopicOption
	if scan {
		opts = append(opts, admin.WithScan())
	}
	findings, err := s.admin.Check(ctx, opts...)
	if err != nil {
		return err
	}
	views, bad := make([]findingView, len(findings)), 0
	for i, finding := range findings {
		views[i] = findingView{string(finding.Level), finding.About, finding.Text, finding.Remedy}
		if finding.Level != admin.LevelOK {
			bad++
		}
	}
	err = display.Emit(s.out, []string{"LEVEL", "ABOUT", "FINDING", "REMEDY"}, views, func(v findingView) []string {
		return []string{v.Level, display.Clean(v.About), display.Clean(v.Text), display.OrNone(display.Clean(v.Remedy))}
	})
	if err != nil || bad == 0 {
		return err
	}
	s.say("%s.", display.Many(bad, "finding"))
	return &codeError{code: exitFound}
}

// hasRegistry reports whether agents have written a topic to the registry.
func (s *session) hasRegistry(ctx context.Context) (bool, error) {
	for topic, err := range s.admin.Topics(ctx, "") {
		if topic.Name != "" {
			return true, nil // the check tells of the error
		}
		return false, err
	}
	return false, nil
}
