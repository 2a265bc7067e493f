package script

import (
	"embed"
	"strings"

	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
)

//go:embed *.lua
var files embed.FS

// source joins files of the package, without their ending. The preludes come first.
func source(names ...string) string {
	var b strings.Builder
	b.WriteString("\n")
	for _, name := range names {
		text, err := files.ReadFile(name + ".lua")
		if err != nil {
			panic(err) // at the start of the program: a file that is embedded cannot be missing
		}
		b.Write(text)
	}
	return b.String()
}

// HandedBackTo is the consumer, run by nobody, that holds what consumers gave
// back when they stopped, until others take it. It leaves their own names
// with nothing pending, so that those can be removed.
const HandedBackTo = "millrace/handed-back"

// NamePrefix begins the names that consumers get from us, which are ours to remove, and
// ProbePrefix those of probes: the probe of a process that was killed does not stay for ever.
const (
	NamePrefix  = "millrace:"
	ProbePrefix = NamePrefix + "probe:"
)

// Renew sets the idle time of entries (ARGV[3] and on) to zero, without
// counting a delivery, as far as they are the consumer's. It returns those that are
// another's, those of no consumer, and those that have gone from the stream, which
// XCLAIM takes out of the pending ones, or with it.
var Renew = redis.NewScript(source("prelude_named", "prelude_replaced", "prelude_owners", "renew"))

// Reclaim makes entries (ARGV[3], and so on, each followed by its delivery
// count) pending on the consumer that are on none. It returns those that the stream
// does not have.
var Reclaim = redis.NewScript(source("reclaim"))

// Begin begins to deliver an entry (ARGV[3]) again: it adds ARGV[4] to its
// delivery count, and returns the count and the content, as far as ARGV[5] allows.
// It returns 'lost' if the entry is another consumer's, 'dropped' if it is no consumer's,
// and 'gone' if the stream does not have it.
var Begin = redis.NewScript(source("prelude_named", "prelude_replaced", "prelude_content", "begin"))

// Fetch returns the content of an entry (ARGV[1]), as far as ARGV[2] allows, or
// nothing if the stream does not have it.
var Fetch = redis.NewScript(source("prelude_content", "fetch"))

// HandBack gives entries (ARGV[4], and so on, each followed by how many deliveries
// are taken off its count), as far as they are the consumer's, to another name (ARGV[3]),
// where they count as idle since long ago. It returns how many those were, and which of
// the others are gone from the stream.
var HandBack = redis.NewScript(source("prelude_owners", "prelude_claim", "hand_back"))

// TakeHandedBack takes up to ARGV[4] entries that were handed back to the name in
// ARGV[3], and returns the results of claim.
var TakeHandedBack = conn.NewOnceScript(source("prelude_claim", "take_handed_back"))

// FindHandedBack returns which of the streams in KEYS, counted from 1, have entries
// that were handed back to the name in ARGV[2]. A stream without the group has none.
var FindHandedBack = redis.NewScript(source("find_handed_back"))

// State returns a text for each of the streams in KEYS: as long as it is the
// same, nothing has been added, read, trimmed or deleted, and the group has not been
// touched. It is empty if something is pending, or if it cannot be known. It returns
// fewer texts, at least one, once it has looked at more than 300 groups; entries in a reply
// count as a hundred.
//
// The group's lag is read in place of XINFO STREAM, whose reply has the first and the last
// entry, however large they are. XINFO STREAM is sent where the lag is not known, and where
// it may be no more than the stream's length: a server reports that for a group that is
// behind all the entries, and 0 for an empty stream, even if entries were trimmed.
var State = redis.NewScript(source("prelude_named", "state"))

// Leave removes the consumer from the group, unless something is pending on
// it: that would be lost with it.
var Leave = redis.NewScript(source("leave"))

// Reap removes consumers (ARGV[2] and on), as far as they have nothing pending, and
// returns how many those were. A live one that only had nothing to do loses nothing: its
// next read makes it again.
var Reap = redis.NewScript(source("reap"))

// MoveAndAck is Move in group mode: the entry (ARGV[3]) goes to the
// dead-letter stream in KEYS[2], with the fields in ARGV[4] and on, and is acked.
// It returns 'lost' if it is another consumer's, 'dropped' if it is no consumer's, and
// false if it is no longer there. The ack comes last, because a script that fails is not undone.
var MoveAndAck = conn.NewOnceScript(source("move_and_ack"))

// EffectsGroup commits entries with effects: for each of ARGV[4] and on (ID, the delivery count that
// it must have or 0, its list of effects) it writes the effects, in the keys from KEYS[2] on, whose
// kinds are in ARGV[3], if the entry is pending on the consumer, and acks all of them in the end. It
// returns the IDs of those that are another consumer's, or have another count, and of those that are
// no consumer's: of these it has written nothing. An error that does not begin with MILLRACE says
// that nothing was written. The ack comes last, because a script that fails is not undone.
var EffectsGroup = conn.NewOnceScript(source("prelude_effects", "effects_group"))

// EffectsLog commits entries in log mode. KEYS are the hash of links, the targets, whose kinds are in
// ARGV[6], and the hash of offsets. If the label (ARGV[1]) has the link in ARGV[2], the effects in
// ARGV[7] and on are written, the offset becomes ARGV[4], and the link ARGV[3]. With 'forward' in
// ARGV[5] the offset is never moved back. The script returns 'ok' and the offset that was stored
// before, empty if none was. It has written nothing if it returns 'done', because the label has the
// new link already, 'fenced' and the link that the label has, or 'corrupt' for a stored offset that is none.
// An error that does not begin with MILLRACE says that nothing was written.
var EffectsLog = conn.NewOnceScript(source("prelude_above", "prelude_offset", "prelude_effects", "effects_log"))

// BeginChain begins a new chain for a label (ARGV[1]), with a random text (ARGV[2]) behind a number
// that is one higher than that of the chain before. KEYS are the hashes of links and of offsets. It
// returns the link of the label, and the offset that is stored, or nothing. If the chain was begun
// already, by a try whose reply was lost, nothing changes.
var BeginChain = conn.NewOnceScript(source("begin_chain"))

// Claim takes up to ARGV[5] entries that have been idle for ARGV[4] milliseconds.
// It looks at no more than 500 pending entries, from the ID in ARGV[3] on, so that it is
// short however many there are. It returns the last ID that it has looked at, empty at
// the end of the list, and the results of claim.
var Claim = conn.NewOnceScript(source("prelude_claim", "claim"))

// Move copies an entry on the server, which sends no payload back and forth. It returns
// false if the entry is no longer there.
var Move = conn.NewOnceScript(source("move"))

// Probe looks for the probe in ARGV[2]. It leaves one if ARGV[3] is 'always', one in
// place of a probe that has gone if it is 'again', and none if it is 'never'. It returns
// the probe that it has found, and the one that it has left.
var Probe = redis.NewScript(source("probe"))

// PublishOnce adds an entry, unless the key tells that it was added. Both keys are
// declared and in one slot. The arguments are the window in milliseconds and
// those of XADD.
//
// A script is not rolled back, so that the step that can be refused (no memory,
// no right, a replica) comes first: after the first SET, the last cannot be. A
// key that holds "" says nothing; it is left behind only where DEL is not
// allowed, or where the entry has too many fields for unpack, and expires. The
// script names no flags: #!lua needs Redis 7, and what it adds, a refusal before
// the first command, is what the first SET does.
var PublishOnce = source("publish_once")

// Info is XINFO STREAM without the fields of the first and the last entry.
var Info = redis.NewScript(source("prelude_named", "info"))

// Unread finds out what the group will never read, which no read tells, as far
// as Redis' counters show it, and mends them.
//
// Trimming moves no counter of the group. While no entry that was read is left in the
// stream, the counter is therefore behind the number of entries that have gone, and the
// difference was lost. Redis 8 and Valkey correct the counter when the group reads on,
// so that the script has to run between the trim and the next read: it is sent with the
// read itself, see conn.Guards. Redis 7 does not, so that there the counter is also behind
// once all that is left is read.
// The counter is corrected, and with that Redis' own lag, so that of all consumers
// one finds each loss ('unread'). But no server writes the counter to its
// append-only file or to a replica, only XGROUP does: after a restart or a failover
// it is an old one, or none. So it counts only if it is not below the one that was
// seen before, in ARGV[4], or else, if nothing that was read is left, as a bound
// ('bound'); and it is written once if ARGV[5] says so: that it is unknown later
// means then that the group was set to another place.
//
// A group can have been set beyond the end of the stream: it would leave out whatever
// is added below it. It is set back to the place in ARGV[2], or to the beginning if that
// is not known or not in this stream ('ahead'). The place in ARGV[3] is where the
// group is to begin, and those that FromTime makes have the highest sequence number:
// these may lie in the future.
//
// If ARGV[6] is a name, the script looks at the other consumers too, unless there are
// very many: how many milliseconds ago one of them was given an entry (-1 is never),
// who they are, and whether the server tells that time (Redis 7.2) or only that of the
// last command, which is the same on Redis 7.0.
//
// It returns false without a group, or what it has found, how many were lost, the
// group's place before and now, the first entry behind that, the group's count and
// whether it can be relied on, how many were ever added, how many there are, the
// highest that was deleted by ID, the last that was ever added, and its findings about the
// other consumers. A count that is not known is -1.
var Unread = redis.NewScript(source("prelude_named", "prelude_above", "unread"))

// TakeOutbox makes an owner (ARGV[1]) that of the gates of an outbox in KEYS[1], unless another one
// has used them within the last ARGV[2] milliseconds; ARGV[3] is an owner that counts as the same
// one. It returns how many milliseconds to wait, 0 for none, and with that the gates: token, row, and
// so on.
var TakeOutbox = conn.NewOnceScript(source("prelude_clock", "prelude_denied", "take_outbox"))

// PublishOutbox adds rows of an outbox to the stream in KEYS[1], those that have no gate in KEYS[2],
// and makes a gate for each. ARGV[1] is the owner of the gates, ARGV[2] the number of gates that are
// removed, with their tokens behind it; then for each row its token, number, count of texts, and
// texts. It returns how many rows are in the stream now, and why the next one is not, or empty; or
// -1 for one who is not the owner.
var PublishOutbox = conn.NewOnceScript(source("prelude_clock", "prelude_denied", "publish_outbox"))

// LeaveOutbox ends the ownership of ARGV[1] of the gates in KEYS[1], and removes the gates behind it.
var LeaveOutbox = conn.NewOnceScript(source("leave_outbox"))

// LowMark returns the last entry that was delivered to the group in ARGV[1], the lowest that is
// pending in it or put off (KEYS[2]), empty if none is, and the last that was ever added to the
// stream. Where more than ARGV[2] are put off, the lowest is not looked for: it is 0-1 then. LowMark
// returns false without a group.
var LowMark = redis.NewScript(source("prelude_named", "prelude_above", "low_mark"))

// Seek sets a group to the place in ARGV[2], '+' for the end; a place behind the end is the end. It
// returns the place of the group before and now. With an ARGV[4], a group that is at another place
// than that is left alone.
//
// The group's count is written with it, or Redis' lag and the search for losses would be blind:
// all entries that were ever added at the end, those that have gone where the stream has nothing
// up to the place, and otherwise ARGV[3], of which -1 is not known. Where an entry behind the place
// was deleted by its ID, Redis knows no lag with any count, and a consumer that starts there would
// take the entry for one that was lost just now: no count is written.
var Seek = redis.NewScript(source("prelude_named", "prelude_above", "seek"))

// Count returns how many entries there are from one ID to another (ARGV), up to 500, and the
// last of them: few enough for the server to do nothing else meanwhile.
var Count = redis.NewScript(source("count"))

// Trim looks how far each reader is, and trims, in one step: between two
// commands an entry could be claimed, or a group be made at the beginning.
//
// KEYS[1] is the stream; ARGV are TrimStep, TrimWalk, the hard limits of length
// and of age in milliseconds, 0 for none, and labels with their offsets, empty for
// none. It returns how many it has trimmed, how many of them beyond the floor, how
// many remain, whether to go on (1) or not (0), the floor or nothing, and the
// positions: kind, owner, ID, state, and how many it has lost, the first and the
// last.
//
// XTRIM's ~ takes whole nodes, as many as fit in the LIMIT. Where that leaves
// much of the LIMIT, at most a node remains, which the exact form then takes.
var Trim = conn.NewOnceScript(source("prelude_named", "prelude_above", "trim"))

// The scripts of entries that are published later have, in KEYS, a sorted set of their
// tickets, by the millisecond at which each is due, and a hash of their contents; then
// the topic, where it is needed. The clock is the server's. Where a step could be refused for
// want of a right after another one is done, they look before the first: a time without
// contents would be told as a loss.

// AddLater adds the entry with a ticket (ARGV[1]), due at ARGV[2], of which ARGV[4] is the kind
// of the limit of the topic (empty, ~, = or age), ARGV[5] the limit, and the others are the
// names and values. It returns 'added', or 'there' if it was added before. If ARGV[3] is 1, it
// may have been added before, and 'unknown' is returned, and nothing is added, once it is
// due: then it may have been moved already.
var AddLater = conn.NewOnceScript(source("prelude_denied", "prelude_clock", "add_later"))

// CancelLater removes the entry with a ticket (ARGV[1]), and returns whether it was there.
var CancelLater = conn.NewOnceScript(source("prelude_denied", "cancel_later"))

// MoveDue adds up to ARGV[1] entries that are due to the topic, the one due first in front, and as
// many as have ARGV[2] bytes, at least one. It returns how many, in how many milliseconds the
// next is due (-1 is none), the tickets without contents, which it removes, and the
// tickets that the topic cannot take, which are due again ARGV[3] milliseconds later, with the
// reason of the last.
var MoveDue = conn.NewOnceScript(source("prelude_denied", "prelude_clock", "move_due"))

// Postpone takes an entry (ARGV[3]) of the group that is pending on the consumer, with the delivery
// count in ARGV[4], or any if that is 0, out of the pending ones, and has it wait: its time, in
// ARGV[5] milliseconds, is put into the sorted set in KEYS[2], and its content, with the count, into
// the hash in KEYS[3]. It returns 'waits', also if that was done before and the entry is not pending;
// 'lost' if it is another consumer's, or has another count; 'dropped' if it is no consumer's,
// unless ARGV[6] is 1: then it waits nevertheless, with the count in ARGV[7]; and 'gone' if the
// stream does not have it. The ack comes last, because a script that fails is not undone.
var Postpone = conn.NewOnceScript(source("prelude_denied", "prelude_clock", "postpone"))

// BringBack makes up to ARGV[3] entries that Postpone has had wait, and that are due, pending again,
// as many as have ARGV[4] bytes, at least one: on the name in ARGV[2], with the count that they had,
// and as if they had been idle for long. An entry that the stream does not have any more, or has
// another one in place of, is added to it again, with the headers that say for which group it is and
// how often it was delivered. One that is pending already is left so: the group was set back. It
// returns what MoveDue returns, and how many were added again.
var BringBack = conn.NewOnceScript(source("prelude_denied", "prelude_clock", "bring_back"))

// FindDue returns for each sorted set of KEYS in how many milliseconds its first entry is due,
// -1 for one that has none, and 0 for one that cannot be read.
var FindDue = redis.NewScript(source("prelude_clock", "find_due"))
