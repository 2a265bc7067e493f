local found = {}
for i, key in ipairs(KEYS) do
  local pending = redis.pcall('XPENDING', key, ARGV[1], '-', '+', 1, ARGV[2])
  if not pending.err and #pending > 0 then found[#found + 1] = i end
end
return found
