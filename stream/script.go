package stream

import "github.com/redis/go-redis/v9"

// The scripts of group mode. Each looks at who an entry is pending on and acts on
// that in one step: neither XCLAIM nor XACK asks whose an entry is, so that two
// commands would leave a moment in which it changes hands in between. KEYS[1] is
// the stream, ARGV[1] the group, ARGV[2] the consumer.

// renewScript sets the idle time of entries (ARGV[3] and on) to zero, without
// counting a delivery, as far as they are the consumer's. It returns those that
// are not, and those that have gone from the stream, which XCLAIM takes out of
// the pending ones.
var renewScript = redis.NewScript(`
local lost, gone = {}, {}
for i = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 0 then
    lost[#lost + 1] = ARGV[i]
  elseif #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID') == 0 then
    gone[#gone + 1] = ARGV[i]
  end
end
return {lost, gone}`)

// beginScript begins to deliver an entry (ARGV[3]) again: it adds ARGV[4] to its
// delivery count, and returns the count and the fields. It returns 'lost' if the
// entry is not the consumer's, and 'gone' if the stream does not have it.
var beginScript = redis.NewScript(`
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])
if #pending == 0 then return {'lost'} end
local count = pending[1][4] + ARGV[4]
local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', count)
if #claimed == 0 then return {'gone'} end
return {'ours', count, claimed[1][2]}`)

// handBackScript gives everything that is pending on the consumer to another name
// (ARGV[3]), where it counts as idle since long ago, and takes one delivery off
// its count, except for the entries in ARGV[4] and on. It returns how many those
// were, a hundred at the most.
var handBackScript = redis.NewScript(`
local charged = {}
for i = 4, #ARGV do charged[ARGV[i]] = true end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100, ARGV[2])
for _, entry in ipairs(pending) do
  local id, count = entry[1], entry[4]
  if not charged[id] and count > 0 then count = count - 1 end
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, id, 'IDLE', 86400000, 'RETRYCOUNT', count, 'JUSTID')
end
return #pending`)

// takeScript takes up to ARGV[4] entries that were handed back to the name in
// ARGV[3], and returns their IDs.
var takeScript = redis.NewScript(`
local taken = {}
for _, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[4], ARGV[3])) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry[1], 'JUSTID')
  taken[#taken + 1] = entry[1]
end
return taken`)

// handedBackScript returns which of the streams in KEYS have entries that were
// handed back to the name in ARGV[2]. A stream without the group has none.
var handedBackScript = redis.NewScript(`
local found = {}
for _, key in ipairs(KEYS) do
  local pending = redis.pcall('XPENDING', key, ARGV[1], '-', '+', 1, ARGV[2])
  if not pending.err and #pending > 0 then found[#found + 1] = key end
end
return found`)

// unreadScript finds entries that have gone before anybody of the group has read
// them: trimming moves no counter of the group, so that it lags behind what was ever
// added once all that is left is read, or even before, if nothing that was read is
// left. It corrects the counter, and with that Redis' own lag, so that of all
// consumers one finds each loss. It returns false if there is none, or how many, the
// last ID that was delivered, the first that there is, and whether entries were
// deleted by ID, which counts in the same way.
var unreadScript = redis.NewScript(`
local function named(pairs)
  local of = {}
  for i = 1, #pairs, 2 do of[pairs[i]] = pairs[i + 1] end
  return of
end
local group
for _, pairs in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local one = named(pairs)
  if one.name == ARGV[1] then group = one end
end
local stream = named(redis.call('XINFO', 'STREAM', KEYS[1]))
local added, read = stream['entries-added'], group and group['entries-read']
if not added or not read then return false end
local last, lost = group['last-delivered-id'], 0
if last == stream['last-generated-id'] then
  lost = added - read
elseif #redis.call('XRANGE', KEYS[1], '-', last, 'COUNT', 1) == 0 then
  lost = added - stream.length - read
end
if lost <= 0 then return false end
redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last, 'ENTRIESREAD', read + lost)
local first = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)
return {lost, last, first[1] and first[1][1] or '', stream['max-deleted-entry-id'] == '0-0' and 1 or 0}`)

// leaveScript removes the consumer from the group, unless something is pending on
// it: that would be lost with it.
var leaveScript = redis.NewScript(`
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1`)

// reapScript removes the consumers whose names begin with ARGV[3], have nothing
// pending and have been idle for ARGV[4] milliseconds. A live one that only had
// nothing to do loses nothing: its next read makes it again.
var reapScript = redis.NewScript(`
local reaped = 0
for _, pairs in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for i = 1, #pairs, 2 do of[pairs[i]] = pairs[i + 1] end
  local ours = string.sub(of.name, 1, #ARGV[3]) == ARGV[3] and of.name ~= ARGV[2]
  if ours and of.pending == 0 and of.idle >= tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    reaped = reaped + 1
  end
end
return reaped`)

// moveAndAckScript is moveScript in group mode: the entry (ARGV[3]) goes to the
// dead-letter stream in KEYS[2], with the fields in ARGV[4] and on, and is acked.
// It returns 'lost' if it is not the consumer's, and false if it is no longer
// there. The ack comes last, because a script that fails is not undone.
var moveAndAckScript = redis.NewScript(`
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 0 then return 'lost' end
local found = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])
if #found == 0 then return false end
local fields = found[1][2]
for i = 4, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('XADD', KEYS[2], '*', unpack(fields))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
return 'moved'`)
