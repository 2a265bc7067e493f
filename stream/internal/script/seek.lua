local from
for _, pairs in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local one = named(pairs)
  if one.name == ARGV[1] then from = one['last-delivered-id'] end
end
if not from then return redis.error_reply('NOGROUP the group is gone') end
if ARGV[4] and ARGV[4] ~= from then return {from, from} end
local stream = named(redis.call('XINFO', 'STREAM', KEYS[1]))
local place, read = ARGV[2], tonumber(ARGV[3])
local added, generated = stream['entries-added'], stream['last-generated-id']
if place == '+' or above(place, generated) then place = generated end
if not added then
  read = -1
elseif place == generated then
  read = added
elseif above(stream['max-deleted-entry-id'], place) then
  read = -1
elseif #redis.call('XRANGE', KEYS[1], '-', place, 'COUNT', 1) == 0 then
  read = added - stream.length
end
if read < 0 then
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], place)
else
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], place, 'ENTRIESREAD', read)
end
return {from, place}
