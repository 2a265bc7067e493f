local there = {}
for i = 1, #ARGV, 2 do
  local found = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])
  local f = found[1] and found[1][2]
  if f and f[#f] == ARGV[i + 1] then there[#there + 1] = ARGV[i] end
end
if #there > 0 then redis.call('XDEL', KEYS[1], unpack(there)) end
return #there
