package stream

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// The scripts of group mode. Each looks at who an entry is pending on and acts on
// that in one step: neither XCLAIM nor XACK asks whose an entry is, so that two
// commands would leave a moment in which it changes hands in between. KEYS[1] is
// the stream, ARGV[1] the group, ARGV[2] the consumer.

// luaNamed is for scripts: named(pairs) is what a reply of names and values says, by
// the names.
const luaNamed = `
local function named(pairs)
  local of = {}
  for i = 1, #pairs, 2 do of[pairs[i]] = pairs[i + 1] end
  return of
end
`

// replaced is a function for scripts, which tells that the stream is not the one that
// had an entry: the entry is not there, and yet nothing was ever trimmed or deleted.
// Where that was, it cannot be told.
const replaced = luaNamed + `
local function replaced(id)
  if #redis.call('XRANGE', KEYS[1], id, id) > 0 then return false end
  local of = named(redis.call('XINFO', 'STREAM', KEYS[1]))
  return of['entries-added'] == of.length
end
`

// renewScript sets the idle time of entries (ARGV[3] and on) to zero, without
// counting a delivery, as far as they are the consumer's. It returns those that are
// another's, those that are nobody's, and those that have gone from the stream, which
// XCLAIM takes out of the pending ones, or with it.
var renewScript = redis.NewScript(replaced + `
local lost, dropped, gone = {}, {}, {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if #pending == 0 then
    local list = replaced(ARGV[i]) and gone or dropped
    list[#list + 1] = ARGV[i]
  elseif pending[1][2] ~= ARGV[2] then
    lost[#lost + 1] = ARGV[i]
  elseif #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID') == 0 then
    gone[#gone + 1] = ARGV[i]
  end
end
return {lost, dropped, gone}`)

// reclaimScript makes entries (ARGV[3], and so on, each followed by its delivery
// count) pending on the consumer that are on nobody. It returns those that the stream
// does not have.
var reclaimScript = redis.NewScript(`
local gone = {}
for i = 3, #ARGV, 2 do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1) == 0 and
    #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', ARGV[i + 1], 'FORCE', 'JUSTID') == 0 then
    gone[#gone + 1] = ARGV[i]
  end
end
return gone`)

// luaContent is for scripts: content(fields, most) returns the size of an entry, of
// its names and values together, and its fields, or false in their place if it is
// larger than a limit; 0 is none.
const luaContent = `
local function content(fields, most)
  local size = 0
  for i = 1, #fields do size = size + #fields[i] end
  if most > 0 and size > most then return size, false end
  return size, fields
end
`

// beginScript begins to deliver an entry (ARGV[3]) again: it adds ARGV[4] to its
// delivery count, and returns the count and the content, as far as ARGV[5] allows.
// It returns 'lost' if the entry is another consumer's, 'dropped' if it is nobody's,
// and 'gone' if the stream does not have it.
var beginScript = redis.NewScript(replaced + luaContent + `
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #pending == 0 then return {replaced(ARGV[3]) and 'gone' or 'dropped'} end
if pending[1][2] ~= ARGV[2] then return {'lost'} end
local count = pending[1][4] + ARGV[4]
local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', count)
if #claimed == 0 then return {'gone'} end
return {'ours', count, content(claimed[1][2], tonumber(ARGV[5]))}`)

// fetchScript returns the content of an entry (ARGV[1]), as far as ARGV[2] allows, or
// nothing if the stream does not have it.
var fetchScript = redis.NewScript(luaContent + `
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return {} end
return {content(found[1][2], tonumber(ARGV[2]))}`)

// handBackScript gives everything that is pending on the consumer to another name
// (ARGV[3]), where it counts as idle since long ago, and takes one delivery off
// its count, except for the entries in ARGV[4] and on. It returns how many those
// were, a hundred at the most, and which of them are gone from the stream.
var handBackScript = redis.NewScript(luaClaim + `
local charged, gone = {}, {}
for i = 4, #ARGV do charged[ARGV[i]] = true end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100, ARGV[2])
for _, entry in ipairs(pending) do
  local id, count = entry[1], entry[4]
  if not charged[id] and count > 0 then count = count - 1 end
  local _, dropped = claim({id}, ARGV[3], 'IDLE', 86400000, 'RETRYCOUNT', count)
  gone[#gone + 1] = dropped[1]
end
return {#pending, gone}`)

// takeScript takes up to ARGV[4] entries that were handed back to the name in
// ARGV[3], and returns what claim returns.
var takeScript = newOnceScript(luaClaim + `
local ids = {}
for i, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[4], ARGV[3])) do ids[i] = entry[1] end
return {claim(ids, ARGV[2])}`)

// handedBackScript returns which of the streams in KEYS, counted from 1, have entries
// that were handed back to the name in ARGV[2]. A stream without the group has none.
var handedBackScript = redis.NewScript(`
local found = {}
for i, key in ipairs(KEYS) do
  local pending = redis.pcall('XPENDING', key, ARGV[1], '-', '+', 1, ARGV[2])
  if not pending.err and #pending > 0 then found[#found + 1] = i end
end
return found`)

// stateScript returns a text for each of the streams in KEYS: as long as it is the
// same, nothing has been added, read, trimmed or deleted, and the group has not been
// touched. It is empty if something is pending, or if it cannot be known.
var stateScript = redis.NewScript(luaNamed + `
local function state(key)
  local stream, groups = redis.pcall('XINFO', 'STREAM', key), redis.pcall('XINFO', 'GROUPS', key)
  if stream.err or groups.err then return '' end
  local words = {}
  local function note(of, names)
    for _, name in ipairs(names) do words[#words + 1] = tostring(of[name]) end
  end
  note(named(stream), {'length', 'last-generated-id', 'entries-added', 'max-deleted-entry-id'})
  for _, pairs in ipairs(groups) do
    local group = named(pairs)
    if group.name == ARGV[1] and group.pending == 0 then
      note(group, {'last-delivered-id', 'entries-read'})
      return table.concat(words, ' ')
    end
  end
  return ''
end
local states = {}
for i, key in ipairs(KEYS) do states[i] = state(key) end
return states`)

// leaveScript removes the consumer from the group, unless something is pending on
// it: that would be lost with it.
var leaveScript = redis.NewScript(`
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1`)

// reapScript removes the consumers whose names begin with ARGV[3], have nothing
// pending and have been idle for ARGV[4] milliseconds. A live one that only had
// nothing to do loses nothing: its next read makes it again.
var reapScript = redis.NewScript(luaNamed + `
local reaped = 0
for _, pairs in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = named(pairs)
  local ours = string.sub(of.name, 1, #ARGV[3]) == ARGV[3] and of.name ~= ARGV[2]
  if ours and of.pending == 0 and of.idle >= tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    reaped = reaped + 1
  end
end
return reaped`)

// moveAndAckScript is moveScript in group mode: the entry (ARGV[3]) goes to the
// dead-letter stream in KEYS[2], with the fields in ARGV[4] and on, and is acked.
// It returns 'lost' if it is another consumer's, 'dropped' if it is nobody's, and
// false if it is no longer there. The ack comes last, because a script that fails is not undone.
var moveAndAckScript = newOnceScript(`
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #pending == 0 then return 'dropped' end
if pending[1][2] ~= ARGV[2] then return 'lost' end
local found = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])
if #found == 0 then return false end
local fields = found[1][2]
for i = 4, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 'moved'`)

// onceScript is a script that the client does not send again by itself when the reply
// is lost. Who runs it has to know whether it may have run before.
type onceScript struct{ source, hash string }

func newOnceScript(source string) onceScript {
	return onceScript{source, redis.NewScript(source).Hash()}
}

func (s onceScript) run(ctx context.Context, client redis.UniversalClient, keys []string, args ...any) *redis.Cmd {
	eval := func(command, script string) *redis.Cmd {
		words := []any{command, script, len(keys)}
		for _, key := range keys {
			words = append(words, key)
		}
		return doOnce(ctx, client, append(words, args...)...)
	}
	cmd := eval("evalsha", s.hash)
	if classify(cmd.Err()).code == "NOSCRIPT" {
		cmd = eval("eval", s.source)
	}
	return cmd
}

// doOnce sends a command that the client does not send again by itself.
func doOnce(ctx context.Context, client redis.UniversalClient, args ...any) *redis.Cmd {
	cmd := &once{*redis.NewCmd(ctx, args...)}
	_ = client.Process(ctx, cmd) // it has the error, too
	return &cmd.Cmd
}

type once struct{ redis.Cmd }

// NoRetry is asked by go-redis.
func (*once) NoRetry() bool { return true }

// neverRan reports whether an error says that the server has not done what it was
// asked for. Otherwise it may have.
func neverRan(ctx context.Context, err error) bool {
	var network *net.OpError
	return classify(err).answered() || errors.As(err, &network) && network.Op == "dial" || ctx.Err() != nil && errors.Is(err, ctx.Err())
}
