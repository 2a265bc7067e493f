package app

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"millrace/stream/cmd/millrace/internal/display"
)

// watch repeats a command that looks.
type watch struct{ every time.Duration }

func (w *watch) flag(flags *pflag.FlagSet) {
	flags.DurationVarP(&w.every, "watch", "w", 0, "do it again each `time`, such as 2s, until Ctrl-C")
}

// The escapes of a terminal that a redraw takes.
const (
	home      = "\x1b[H"
	eraseLine = "\x1b[K"
	eraseRest = "\x1b[J"
	// otherScreen leaves the lines that are on the terminal alone, until mainScreen.
	otherScreen = "\x1b[?1049h\x1b[?25l"
	mainScreen  = "\x1b[?25h\x1b[?1049l"
)

// run shows something once, or again and again until ctx ends. On a terminal each show takes
// the place of the one before. A failure of the first ends it; a later one is shown, and
// may pass.
func (w *watch) run(ctx context.Context, s *session, show func(ctx context.Context, s *session) error) error {
	if w.every <= 0 {
		return show(ctx, s)
	}
	redraw := s.Terminal.Out && s.format == display.FormatTable
	if redraw {
		if err := s.out.Printf(otherScreen); err != nil {
			return err
		}
		defer func() { _ = s.out.Printf(mainScreen) }()
	}
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for round := 0; ; round++ {
		var screen bytes.Buffer
		shown := s.with(s.out)
		if redraw {
			shown = s.with(&screen)
			shown.messages = &screen
		}
		err := show(ctx, shown)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && round == 0 {
			return err
		}
		if err != nil {
			shown.say("%s", display.Clean(err.Error()))
		}
		if redraw {
			if err := s.out.Printf("%s", s.drawn(screen.String())); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// drawn returns the escapes and lines that draw a text over the one before, without a flicker, and no further than
// the terminal goes.
func (s *session) drawn(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if _, rows, err := s.Terminal.Size(); err == nil && rows > 1 && len(lines) > rows-1 {
		lines = append(lines[:rows-2], "(more than the terminal has lines for)")
	}
	return home + strings.Join(lines, eraseLine+"\n") + eraseLine + "\n" + eraseRest
}
