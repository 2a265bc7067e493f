package app

import (
	"fmt"
	"strings"
	"time"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// bar shows how far a change is, on a terminal alone.
type bar struct {
	*session
	begun time.Time
	shown bool
}

const barWidth = 20

// show draws the bar.
func (b *bar) show(p admin.Progress) {
	if !b.Terminal.Err || p.Of <= 0 {
		return
	}
	now := b.Now()
	if b.begun.IsZero() {
		b.begun = now
	}
	filled := int(min(p.Done, p.Of) * barWidth / p.Of)
	text := fmt.Sprintf("[%s%s] %s of %s", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), display.Number(p.Done), display.Number(p.Of))
	if passed := now.Sub(b.begun); passed >= time.Second {
		text += fmt.Sprintf("   %.0f/s", float64(p.Done)/passed.Seconds())
	}
	if p.Behind > 0 {
		text += "   " + display.Number(p.Behind) + " behind"
	}
	if p.Returned > 0 {
		text += "   " + display.Number(p.Returned) + " came back"
	}
	if p.Waiting != "" {
		text += "   " + p.Waiting
	}
	text = display.Clean(text)
	if columns, _, err := b.Terminal.Size(); b.Terminal.Out && err == nil && len(text) >= columns && columns > 0 {
		text = text[:columns-1] // a line that wraps is not drawn over
	}
	b.shown = true
	_, _ = fmt.Fprint(b.Err, "\r"+text+eraseLine)
}

// clear takes the bar away.
func (b *bar) clear() {
	if b.shown {
		_, _ = fmt.Fprint(b.Err, "\r"+eraseLine)
	}
}
