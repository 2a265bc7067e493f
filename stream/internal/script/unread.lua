local group
for _, pairs in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local one = named(pairs)
  if one.name == ARGV[1] then group = one end
end
if not group then return false end
local stream = named(redis.call('XINFO', 'STREAM', KEYS[1]))
local added, read, deleted = stream['entries-added'], group['entries-read'], stream['max-deleted-entry-id']
local last, generated = group['last-delivered-id'], stream['last-generated-id']
local found, lost, now, write, sure = '', 0, last, ARGV[5] == '1', false

local function behind(place)
  local first = redis.call('XRANGE', KEYS[1], '(' .. place, '+', 'COUNT', 1)
  return first[1] and first[1][1] or ''
end

if above(last, generated) and last ~= ARGV[3] and not string.find(last, '-18446744073709551615', 1, true) then
  found, now = 'ahead', ARGV[2]
  if now == '' or above(now, generated) then now = '0-0' end
  redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], now)
  read = false
elseif added then
  local known = tonumber(ARGV[4])
  sure = read and known >= 0 and read >= known
  if last == '0-0' and not read and (deleted == '0-0' or above(behind(last), deleted)) then
    read, sure = added - stream.length, true
  elseif read and last == generated then
    lost = added - read
    if lost > 0 and sure then found = 'unread' end
    sure = true
  elseif read and #redis.call('XRANGE', KEYS[1], '-', last, 'COUNT', 1) == 0 then
    lost = added - stream.length - read
    if lost > 0 then found = sure and 'unread' or 'bound' end
    sure = true
  end
  if lost ~= 0 then read, write = read + lost, true end
  if read and write then redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last, 'ENTRIESREAD', read) end
end

local quiet, others, timed = 0, '', 0
if ARGV[6] ~= '' and (sure or last == generated) and group.consumers <= 100 then
  local consumers, names = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1]), {}
  if not consumers.err then
    quiet = -1
    for _, pairs in ipairs(consumers) do
      local one = named(pairs)
      if one.inactive then timed = 1 end
      if one.name ~= ARGV[6] then
        names[#names + 1] = #one.name .. ' ' .. one.name
        local since = one.inactive or one.idle
        if since >= 0 and (quiet < 0 or since < quiet) then quiet = since end
      end
    end
    others = redis.sha1hex(table.concat(names, ' '))
  end
end
return {found, lost, last, now, behind(now), read or -1, sure and 1 or 0, added or -1, stream.length, deleted or '0-0',
  generated, quiet, others, timed}
