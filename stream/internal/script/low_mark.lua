local found = false
for _, pairs in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = named(pairs)
  if group.name == ARGV[1] then found = group end
end
if not found then return false end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1)
local info = named(redis.call('XINFO', 'STREAM', KEYS[1]))
return {found['last-delivered-id'], pending[1] and pending[1][1] or '', info['last-generated-id']}
