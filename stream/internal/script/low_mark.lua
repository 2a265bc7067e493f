local found = false
for _, pairs in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = named(pairs)
  if group.name == ARGV[1] then found = group end
end
if not found then return false end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1)
local open = pending[1] and pending[1][1] or ''
-- An entry that was put off is acked, and comes back.
local waits = redis.call('ZRANGE', KEYS[2], 0, ARGV[2])
if #waits > tonumber(ARGV[2]) then
  open = '0-1'
else
  for _, id in ipairs(waits) do
    if open == '' or above(open, id) then open = id end
  end
end
local info = named(redis.call('XINFO', 'STREAM', KEYS[1]))
return {found['last-delivered-id'], open, info['last-generated-id']}
