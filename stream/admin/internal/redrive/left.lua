local left = 0
for i = 1, #ARGV, 2 do
  local found = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])
  local f = found[1] and found[1][2]
  if f and f[#f] == ARGV[i + 1] then left = left + 1 end
end
return left
