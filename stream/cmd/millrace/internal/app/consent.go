package app

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// consent is the agreement of a person to a change: who wants it and why, and how sure they are.
type consent struct {
	by, why          string
	apply, yes       bool
	anyway, unasked  bool
	emptyIsSomething bool // a plan about no entry is a change all the same
}

// reasons adds the flags that say who does something, and why.
func (k *consent) reasons(command *cobra.Command) {
	command.Flags().StringVar(&k.by, "by", "", "`who` does it (default $USER)")
	command.Flags().StringVar(&k.why, "why", "", "`reason`, for the audit and for others who look at it; required to do it")
}

// flags adds the flags of a command that makes a plan.
func (k *consent) flags(command *cobra.Command) {
	flags := command.Flags()
	flags.BoolVar(&k.apply, "apply", false, "do it; without it the plan is printed, and that is all")
	flags.BoolVar(&k.yes, "yes", false, "do not ask, for scripts; it takes --apply, too")
	flags.BoolVar(&k.anyway, "anyway", false, "do it although something has changed since the plan was made")
	k.reasons(command)
}

// unattended adds the flag for a change that consumers cannot be told of.
func (k *consent) unattended(command *cobra.Command) {
	command.Flags().BoolVar(&k.unasked, "unattended", false, "do it although live consumers cannot be told of it")
}

// check refuses a change before its plan is made. does is set if the change is to be done.
func (k *consent) check(s *session, does bool) error {
	k.by = cmp.Or(k.by, s.Env("USER"), s.Env("LOGNAME"))
	switch {
	case k.yes && !k.apply && !does:
		return usage(errors.New("--yes answers the question of --apply; give both"))
	case !does:
		return nil
	case s.server.ReadOnly:
		return refused(fmt.Errorf("the context %s is read-only; nothing was changed", s.server.Name))
	case k.by == "" || k.why == "":
		return usage(errors.New("say who does it with --by, and why with --why"))
	}
	return nil
}

// options are the options of the plan.
func (k *consent) options() []admin.DoOption {
	opts := []admin.DoOption{admin.By(k.by, k.why)}
	if k.anyway {
		opts = append(opts, admin.Anyway())
	}
	if k.unasked {
		opts = append(opts, admin.Unattended())
	}
	return opts
}

// planView is a plan, as it is printed.
type planView struct {
	Plan     string       `json:"plan"`
	Details  []detailView `json:"details"`
	Affected int64        `json:"affected"`
	Warnings []string     `json:"warnings"`
}

// detailView is a line of a plan, as it is printed.
type detailView struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// carryOut prints a plan, has it done if that is wanted and the person agrees, and prints the
// result, also that of a change that was stopped. show returns the result for JSON and for
// people.
func carryOut[R any](ctx context.Context, s *session, k *consent, plan *admin.Plan[R], show func(R) (any, string), opts ...admin.DoOption) error {
	view := planView{Plan: plan.Summary, Details: []detailView{}, Affected: plan.Affected, Warnings: append([]string{}, plan.Warnings...)}
	for _, detail := range plan.Details {
		view.Details = append(view.Details, detailView{detail.Name, flagNames.Replace(detail.Text)})
	}
	for i, warning := range view.Warnings {
		view.Warnings[i] = flagNames.Replace(warning)
	}
	if err := s.showPlan(view, k.apply); err != nil {
		return err
	}
	var result R
	nothing := plan.Affected == 0 && !k.emptyIsSomething
	switch {
	case nothing:
		s.say("There is nothing to do.")
		if !k.apply {
			return nil
		}
	case !k.apply:
		s.say("Nothing was changed. Add --apply to do it.")
		return &codeError{code: exitRefused}
	}
	var err error
	if !nothing {
		if err := k.confirm(ctx, s, plan.Affected); err != nil {
			return err
		}
		bar := &bar{session: s}
		result, err = plan.Do(ctx, append(append(k.options(), admin.Report(bar.show)), opts...)...)
		bar.clear()
	}
	if err == nil || !reflect.ValueOf(result).IsZero() {
		err = errors.Join(s.result(show(result)), err)
	}
	return ended(ctx, err)
}

// flagNames turns the names of options in package admin into those of flags.
var flagNames = strings.NewReplacer("AlsoUndecodable", "--also-undecodable", "ToGroup", "--to-group", "WaitWhileBehind", "--wait-while-behind")

// showPlan prints a plan: as data if it is all that is printed, and else as a message.
func (s *session) showPlan(view planView, does bool) error {
	if s.format != display.FormatTable && !does {
		return s.out.JSON(view)
	}
	lines := []string{"Plan", "  " + display.Clean(view.Plan)}
	named := slices.Clone(view.Details)
	for _, warning := range view.Warnings {
		named = append(named, detailView{"warning", warning})
	}
	width := 0
	for _, one := range named {
		width = max(width, len(one.Name))
	}
	for _, one := range named {
		lines = append(lines, display.Clean(fmt.Sprintf("  %-*s  %s", width, one.Name, one.Text)))
	}
	text := strings.Join(lines, "\n")
	if does {
		s.say("%s", text)
		return nil
	}
	return s.out.Printf("%s\n", text)
}

// confirm asks the person to type how many entries are affected, or the text that the context
// wants.
func (k *consent) confirm(ctx context.Context, s *session, affected int64) error {
	want, question := strconv.FormatInt(affected, 10), "the number of what is affected"
	if text := s.server.Confirm; text != "" {
		want, question = text, "the name of this server"
	} else if k.yes {
		return nil
	}
	if !s.Terminal.In {
		if s.server.Confirm != "" {
			return refused(fmt.Errorf("the context %s wants its name typed, and the input is no terminal; nothing was changed", s.server.Name))
		}
		return refused(errors.New("the input is no terminal, so that nobody can be asked; add --yes; nothing was changed"))
	}
	_, _ = fmt.Fprintf(s.Err, "Type %s to go on (%s): ", question, want)
	answer, err := s.line(ctx)
	if err != nil {
		return err
	}
	if given := strings.TrimSpace(answer); given != want && strings.ReplaceAll(given, " ", "") != want {
		return refused(fmt.Errorf("that is not %s; nothing was changed", want))
	}
	return nil
}

// result prints the result of a change.
func (s *session) result(value any, text string) error {
	if s.format != display.FormatTable {
		return s.out.JSON(value)
	}
	return s.out.Printf("%s\n", display.Clean(text))
}

// ended turns the error of a change that was interrupted into one that says how to go on.
func ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || errors.Is(context.Cause(ctx), errPipe) {
		return err
	}
	return &codeError{exitInterrupted, errors.New("interrupted; the same command goes on")}
}

// contextReader returns a reader that does not wait for its input longer than ctx: a person
// who has forgotten the file has to get out.
func contextReader(ctx context.Context, input io.Reader) io.Reader {
	from, to := io.Pipe()
	go func() {
		_, err := io.Copy(to, input)
		_ = to.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { _ = from.CloseWithError(context.Cause(ctx)); _ = to.CloseWithError(context.Cause(ctx)) })
	return from
}

// line reads a line of the input, and does not wait for it longer than ctx. The end of the input
// ends a line, too.
func (s *session) line(ctx context.Context) (string, error) {
	read := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(s.In).ReadString('\n')
		read <- text
	}()
	select {
	case text := <-read:
		return text, nil
	case <-ctx.Done():
		_, _ = fmt.Fprintln(s.Err)
		return "", &codeError{exitInterrupted, errors.New("interrupted; nothing was changed")}
	}
}
