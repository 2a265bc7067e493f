package stream

import (
	"github.com/redis/go-redis/v9"

	"millrace/stream/internal/conn"
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
local complete
local function replaced(id)
  if complete == nil then
    local of = named(redis.call('XINFO', 'STREAM', KEYS[1]))
    complete = of['entries-added'] == of.length
  end
  return complete and #redis.call('XRANGE', KEYS[1], id, id) == 0
end
`

// luaOwners is for scripts: owners(first, step) is the XPENDING rows of the entries in
// ARGV[first], ARGV[first + step] and so on, by their IDs, without those that are not
// pending. One XPENDING finds all of them if they are in order, and are the
// consumer's, and no others of its entries are in between.
const luaOwners = `
local function owners(first, step)
  local of, last, n = {}, nil, 0
  for i = first, #ARGV, step do last, n = ARGV[i], n + 1 end
  if n == 0 then return of end
  for _, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[first], last, n, ARGV[2])) do of[entry[1]] = entry end
  for i = first, #ARGV, step do
    local id = ARGV[i]
    if not of[id] then of[id] = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1] end
  end
  return of
end
`

// renewScript sets the idle time of entries (ARGV[3] and on) to zero, without
// counting a delivery, as far as they are the consumer's. It returns those that are
// another's, those that are nobody's, and those that have gone from the stream, which
// XCLAIM takes out of the pending ones, or with it.
var renewScript = redis.NewScript(replaced + luaOwners + `
local of, lost, dropped, gone = owners(3, 1), {}, {}, {}
local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
for i = 3, #ARGV do
  local entry = of[ARGV[i]]
  if not entry then
    local list = replaced(ARGV[i]) and gone or dropped
    list[#list + 1] = ARGV[i]
  elseif entry[2] ~= ARGV[2] then
    lost[#lost + 1] = ARGV[i]
  else
    claim[#claim + 1] = ARGV[i]
  end
end
if #claim > 5 then
  local there = {}
  claim[#claim + 1] = 'JUSTID'
  for _, id in ipairs(redis.call(unpack(claim))) do there[id] = true end
  for i = 6, #claim - 1 do
    if not there[claim[i]] then gone[#gone + 1] = claim[i] end
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

// handBackScript gives entries (ARGV[4], and so on, each followed by how many deliveries
// are taken off its count), as far as they are the consumer's, to another name (ARGV[3]),
// where they count as idle since long ago. It returns how many those were, and which of
// the others are gone from the stream.
var handBackScript = redis.NewScript(luaOwners + luaClaim + `
local of, returned, gone = owners(4, 2), 0, {}
for i = 4, #ARGV, 2 do
  local entry = of[ARGV[i]]
  if entry and entry[2] == ARGV[2] then
    local count = math.max(0, entry[4] - tonumber(ARGV[i + 1]))
    local taken, dropped = claim({ARGV[i]}, ARGV[3], 'IDLE', 86400000, 'RETRYCOUNT', count)
    returned = returned + #taken
    gone[#gone + 1] = dropped[1]
  end
end
return {returned, gone}`)

// takeScript takes up to ARGV[4] entries that were handed back to the name in
// ARGV[3], and returns the results of claim.
var takeScript = conn.NewOnceScript(luaClaim + `
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
// touched. It is empty if something is pending, or if it cannot be known. It returns
// fewer texts, at least one, once it has looked at more than 300 groups; entries in a reply
// count as a hundred.
//
// The group's lag is read in place of XINFO STREAM, whose reply has the first and the last
// entry, however large they are. XINFO STREAM is sent where the lag is not known, and where
// it may be no more than the stream's length: a server reports that for a group that is
// behind all the entries, and 0 for an empty stream, even if entries were trimmed.
var stateScript = redis.NewScript(luaNamed + `
local looked = 0
local function state(key)
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  if groups.err then return '' end
  looked = looked + #groups
  for _, pairs in ipairs(groups) do
    local group = named(pairs)
    if group.name == ARGV[1] then
      if group.pending ~= 0 then return '' end
      local words, length = {tostring(group['last-delivered-id']), tostring(group['entries-read']), tostring(group.lag)}, redis.call('XLEN', key)
      if group.lag and group.lag < length then
        words[#words + 1] = length
      else
        if length > 0 then looked = looked + 100 end
        local stream = named(redis.call('XINFO', 'STREAM', key))
        for _, name in ipairs({'length', 'last-generated-id', 'entries-added', 'max-deleted-entry-id'}) do
          words[#words + 1] = tostring(stream[name])
        end
      end
      return table.concat(words, ' ')
    end
  end
  return ''
end
local states = {}
for i, key in ipairs(KEYS) do
  states[i] = state(key)
  if looked > 300 then break end
end
return states`)

// leaveScript removes the consumer from the group, unless something is pending on
// it: that would be lost with it.
var leaveScript = redis.NewScript(`
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1`)

// reapScript removes consumers (ARGV[2] and on), as far as they have nothing pending, and
// returns how many those were. A live one that only had nothing to do loses nothing: its
// next read makes it again.
var reapScript = redis.NewScript(`
local reaped = 0
for i = 2, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[i]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[i])
    reaped = reaped + 1
  end
end
return reaped`)

// moveAndAckScript is moveScript in group mode: the entry (ARGV[3]) goes to the
// dead-letter stream in KEYS[2], with the fields in ARGV[4] and on, and is acked.
// It returns 'lost' if it is another consumer's, 'dropped' if it is nobody's, and
// false if it is no longer there. The ack comes last, because a script that fails is not undone.
var moveAndAckScript = conn.NewOnceScript(`
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
