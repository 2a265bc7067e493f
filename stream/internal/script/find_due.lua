local now, found = clock(), {}
for i, key in ipairs(KEYS) do
  local first = redis.pcall('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first.err then
    found[i] = 0
  elseif #first == 0 then
    found[i] = -1
  else
    found[i] = math.max(0, tonumber(first[2]) - now)
  end
end
return found
