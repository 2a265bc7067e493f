local key, step, walk = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local maxlen, maxage = tonumber(ARGV[3]), tonumber(ARGV[4])

local info = redis.pcall('XINFO', 'STREAM', key)
if info.err then
  if string.find(info.err, 'no such key', 1, true) then return {0, 0, 0, 0, '', {}} end
  return info
end
info = named(info)
local first = info['first-entry'] and info['first-entry'][1]

local positions, floor = {}, false
local function position(kind, owner, passed, pending)
  local p = {kind = kind, owner = owner, passed = passed, pending = pending, id = passed, state = 'passed', lost = 0, from = '', to = ''}
  if passed == '' then
    p.id, p.passed, p.state = '0-0', '0-0', 'missing'
  elseif above(passed, info['last-generated-id']) then
    p.id, p.passed, p.state = '0-0', '0-0', 'ahead'
  end
  if pending and first then
    -- What is pending, and gone from the stream already, holds nothing.
    local oldest = redis.call('XPENDING', key, owner, first, '+', 1)
    if #oldest > 0 and not above(oldest[1][1], p.id) then p.id, p.state = oldest[1][1], 'pending' end
  end
  if not floor or above(floor, p.id) then floor = p.id end
  positions[#positions + 1] = p
end
for _, pairs in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local group = named(pairs)
  position('group', group.name, group['last-delivered-id'], group.pending > 0)
end
for i = 5, #ARGV, 2 do position('label', ARGV[i], ARGV[i + 1], false) end

local trimmed, more = 0, 0
if first and floor and above(floor, first) then
  trimmed = redis.call('XTRIM', key, 'MINID', '~', floor, 'LIMIT', step)
  if trimmed > step / 2 then
    more = 1
  else
    trimmed = trimmed + redis.call('XTRIM', key, 'MINID', '=', floor)
  end
end
local length, capped = info.length - trimmed, 0
walk = math.max(1, math.floor(walk / (4 + #positions)))

local function has_passed(p, id)
  if above(id, p.passed) then return false end
  return not p.pending or #redis.call('XPENDING', key, p.owner, id, id, 1) == 0
end
if more == 0 and (maxlen > 0 and length > maxlen or maxage > 0 and length > 1) then
  local eldest = '0-0'
  if maxage > 0 then
    local now = redis.call('TIME')
    eldest = string.format('%.0f-0', math.max(0, now[1] * 1000 + math.floor(now[2] / 1000) - maxage))
  end
  local after, go_on = '-', true
  while go_on do
    -- A page is small, because entries can be large.
    local page = redis.call('XRANGE', key, after, '+', 'COUNT', 10)
    go_on = #page > 0
    for _, entry in ipairs(page) do
      local id = entry[1]
      local over = maxlen > 0 and length - capped > maxlen or above(eldest, id) and length - capped > 1
      if over and capped == walk then more = 1 end
      if not over or capped == walk then
        go_on = false
        break
      end
      capped = capped + 1
      for _, p in ipairs(positions) do
        if not has_passed(p, id) then
          if p.lost == 0 then p.from = id end
          p.lost, p.to = p.lost + 1, id
        end
      end
      after = '(' .. id
    end
  end
  if capped > 0 then redis.call('XTRIM', key, 'MAXLEN', '=', length - capped) end
end

for i, p in ipairs(positions) do
  positions[i] = {p.kind, p.owner, p.id, p.state, p.lost, p.from, p.to}
end
return {trimmed + capped, capped, length - capped, more, floor or '', positions}
