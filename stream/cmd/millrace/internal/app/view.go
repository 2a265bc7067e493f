package app

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace/stream/admin"
	"millrace/stream/cmd/millrace/internal/display"
)

// The states of readers and topics that stand alone in their cells.
const (
	stateBehind  = "behind"
	stateUnread  = "nobody reads it"
	stateMissing = "there is no such stream"
	stateDead    = "no consumer"
)

// colours are those of the cells that tell how bad it is.
var colours = map[string]string{
	string(admin.LevelFail): display.Red, string(admin.LevelWarn): display.Yellow, string(admin.LevelOK): display.Green,
	stateBehind: display.Yellow, stateUnread: display.Yellow, stateMissing: display.Red, stateDead: display.Red,
}

// topicView is a topic, as it is printed.
type topicView struct {
	Topic     string       `json:"topic"`
	Missing   bool         `json:"missing,omitempty"`
	Length    int64        `json:"length"`
	First     string       `json:"first,omitempty"`
	Last      string       `json:"last,omitempty"`
	Added     int64        `json:"added"`
	Bytes     *int64       `json:"bytes,omitempty"`
	PerSecond *float64     `json:"perSecond,omitempty"`
	Dead      int64        `json:"deadLetters"`
	Readers   []readerView `json:"readers"`
	Error     string       `json:"error,omitempty"`
}

// readerView is a reader, as it is printed.
type readerView struct {
	Reader   string `json:"reader"`
	Position string `json:"position,omitempty"`
	// Lag is null if it is not known.
	Lag           *int64   `json:"lag"`
	BehindSeconds float64  `json:"behindSeconds"`
	Pending       int64    `json:"pending"`
	Oldest        string   `json:"oldest,omitempty"`
	Consumers     int      `json:"consumers"`
	Agents        int      `json:"agents"`
	Obeying       int      `json:"obeying"`
	Versions      []string `json:"versions,omitempty"`
	PausedBy      string   `json:"pausedBy,omitempty"`
	PausedWhy     string   `json:"pausedWhy,omitempty"`
	PausedUntil   string   `json:"pausedUntil,omitempty"`
	State         string   `json:"state,omitempty"`

	behind time.Duration
}

// viewTopic returns how a topic is printed. A reader that is further behind than so much has the
// state behind.
func (s *session) viewTopic(t admin.Topic, tooFar time.Duration) topicView {
	view := topicView{
		Topic: t.Name, Missing: t.Missing, Length: t.Length, First: t.First, Last: t.Last, Added: t.Added,
		Dead: t.Dead(), Readers: []readerView{},
	}
	if t.Bytes >= 0 {
		view.Bytes = &t.Bytes
	}
	for _, standing := range t.Standings {
		view.Readers = append(view.Readers, s.viewReader(standing, tooFar))
	}
	return view
}

func (s *session) viewReader(r admin.Standing, tooFar time.Duration) readerView {
	view := readerView{
		Reader: r.Reader.Address(), Position: r.Position, BehindSeconds: r.Lag.Time.Seconds(), Pending: r.Pending,
		Oldest: r.Oldest, Consumers: r.Consumers, Agents: r.Agents, Obeying: r.Obeying, Versions: r.Versions,
		State: s.stateOf(r, tooFar), behind: r.Lag.Time,
	}
	if r.Lag.Known {
		view.Lag = &r.Lag.Entries
	}
	if r.Paused != nil {
		view.PausedBy, view.PausedWhy = r.Paused.By, r.Paused.Why
		view.PausedUntil = r.Paused.Until.Time().UTC().Format(time.RFC3339)
	}
	return view
}

// stateOf says the most important thing about a reader, nothing if all is well.
func (s *session) stateOf(r admin.Standing, tooFar time.Duration) string {
	obeying := ""
	if r.Obeying < r.Agents {
		obeying = fmt.Sprintf(", %d of %d obey", r.Obeying, r.Agents)
	}
	switch {
	case r.Paused != nil:
		return display.Clean(fmt.Sprintf("paused by %s until %s%s", r.Paused.By, s.clock(r.Paused.Until.Time()), obeying))
	case r.Reader.Group != "" && r.Consumers == 0:
		return stateDead
	case len(r.Troubles) > 0:
		return display.Clean(strings.Join(r.Troubles, "; "))
	case r.Lag.Time > tooFar:
		return stateBehind
	default:
		return strings.TrimPrefix(obeying, ", ")
	}
}

// cells are the cells of a reader: its name, lag, behind, pending and consumers.
func (r readerView) cells() []string {
	lag, pending, consumers := "unknown", display.Number(r.Pending), strconv.Itoa(r.Consumers)
	if r.Lag != nil {
		lag = display.Number(*r.Lag)
	}
	if strings.HasPrefix(r.Reader, "label:") {
		pending = display.None
		if r.Consumers == 0 {
			consumers = display.None // it has no agent, which would tell
		}
	}
	return []string{display.Clean(spokenAddress(r.Reader)), lag, display.Age(r.behind), pending, consumers}
}

// stamp is the time of an ID, for JSON.
func stamp(id string) string {
	return admin.TimeOf(id).UTC().Format("2006-01-02T15:04:05.000Z")
}
