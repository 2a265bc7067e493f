package admin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Admins and agents meet in the keys of a keyspace, see [WithKeyspace]:
//
//	<keyspace>:topics        hash, stream -> Registered, as JSON; it never expires
//	<keyspace>:control       hash, "<stream> <address>" -> Control, as JSON
//	<keyspace>:processes     hash, ID of a process -> when it last renewed its Presence
//	<keyspace>:process:<id>  Presence, as JSON; it expires after presenceLasts
//
// The hash of the processes is there because a SCAN for the keys of the processes looks at each
// key of the server.
type keyspace string

func (k keyspace) topics() string           { return string(k) + ":topics" }
func (k keyspace) control() string          { return string(k) + ":control" }
func (k keyspace) processes() string        { return string(k) + ":processes" }
func (k keyspace) process(id string) string { return string(k) + ":process:" + id }

const (
	// presenceEvery is how often an agent renews its Presence, which expires after
	// presenceLasts.
	presenceEvery = 5 * time.Second
	presenceLasts = 15 * time.Second
)

// Millis is a time in a record: Unix time in milliseconds, as the IDs of entries have it. Zero
// is no time.
type Millis int64

// MillisOf returns a time as Millis. The zero time is zero.
func MillisOf(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time returns it as a time.Time, which is zero for zero.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m))
}

// Registered is the record of one topic in the registry, which agents write.
type Registered struct {
	// Readers are the addresses of all groups and labels that ever ran with an agent, see
	// [Reader.Address].
	Readers []string `json:"readers,omitempty"`
	// Dead are the keys of the dead-letter streams of the topic.
	Dead []string `json:"dead,omitempty"`
	// Seen is when an agent last renewed the record.
	Seen Millis `json:"seen"`
}

// Control is the record of the orders to the consumers of one reader.
type Control struct {
	// Paused is nil if they are not told to pause.
	Paused *Pause `json:"paused,omitempty"`
	// Seek is nil if they are not told to go to another place.
	Seek *SeekOrder `json:"seek,omitempty"`
}

// Pause is a pause of a group or a label.
type Pause struct {
	By    string `json:"by"`
	Why   string `json:"why"`
	Since Millis `json:"since"`
	// Until is when the pause ends by itself. There is no pause without an end.
	Until Millis `json:"until"`
}

// active reports whether the pause is not over.
func (p *Pause) active(now time.Time) bool { return p != nil && now.Before(p.Until.Time()) }

// SeekOrder tells the consumers of a group or a label to go to another place.
type SeekOrder struct {
	// Op is the ID of the order. A consumer obeys each order once.
	Op string `json:"op"`
	// To is the ID of an entry: reading goes on behind it, as with stream.FromID.
	To  string `json:"to"`
	By  string `json:"by"`
	Why string `json:"why"`
	// At is when the order was given. It ends after seekLasts.
	At Millis `json:"at"`
}

// Presence is the record that an agent writes of its process.
type Presence struct {
	Host string `json:"host"`
	PID  int    `json:"pid"`
	// Version is that of the program, as its build information has it.
	Version   string             `json:"version,omitempty"`
	Started   Millis             `json:"started"`
	Renewed   Millis             `json:"renewed"`
	Consumers []ConsumerPresence `json:"consumers,omitempty"`
}

// name names the process for people.
func (p *Presence) name() string { return p.Host + ":" + strconv.Itoa(p.PID) }

// ConsumerPresence is one consumer of a process, as its agent saw it last. It has no field
// values.
type ConsumerPresence struct {
	Stream string `json:"stream"`
	// Group is set in group mode, Label in log mode.
	Group string `json:"group,omitempty"`
	Label string `json:"label,omitempty"`
	// Consumer is the name in the group.
	Consumer string `json:"consumer,omitempty"`
	// Dead is the key of its dead-letter stream, empty for the usual one.
	Dead string `json:"dead,omitempty"`

	Live   bool   `json:"live"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`

	// Position is the last entry that was read, Settled the offset that was saved last, in
	// log mode.
	Position     string `json:"position,omitempty"`
	Settled      string `json:"settled,omitempty"`
	Working      int    `json:"working,omitempty"`
	Held         int    `json:"held,omitempty"`
	Window       int    `json:"window,omitempty"`
	Handled      int64  `json:"handled,omitempty"`
	Failed       int64  `json:"failed,omitempty"`
	Skipped      int64  `json:"skipped,omitempty"`
	DeadLettered int64  `json:"deadLettered,omitempty"`
	Lost         int64  `json:"lost,omitempty"`

	// PausedUntil is the end of the pause that the consumer obeys, zero if it is not paused.
	PausedUntil Millis `json:"pausedUntil,omitempty"`
	// Awaits is the Op of the order to seek for which the consumer is paused, until the group
	// is set.
	Awaits string `json:"awaits,omitempty"`
	// Seek is the Op of the order to seek that it has obeyed last, or that it could not obey:
	// then SeekError says why.
	Seek      string `json:"seek,omitempty"`
	SeekError string `json:"seekError,omitempty"`
}

// Reader returns the group or label of the consumer.
func (c ConsumerPresence) Reader() Reader {
	return Reader{Stream: c.Stream, Group: c.Group, Label: c.Label}
}

// seekLasts is how long an order to seek lasts that no consumer has obeyed. A process that
// starts later than that does not obey it.
const seekLasts = 7 * 24 * time.Hour

// controlField is the field of a reader in the hash of the controls.
func controlField(r Reader) string { return r.Stream + " " + r.Address() }

// decodeRecord reads the JSON of a record.
func decodeRecord[T any](key, field, text string) (record T, err error) {
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return record, fmt.Errorf("admin: the record %q of %s is not one of an agent's; look at it, and remove it if nobody needs it: %w", field, key, err)
	}
	return record, nil
}
