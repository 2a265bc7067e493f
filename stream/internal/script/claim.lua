local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', 500)
local ids, last, idle, room = {}, '', tonumber(ARGV[4]), tonumber(ARGV[5])
for i, entry in ipairs(pending) do
  if entry[3] >= idle then ids[#ids + 1] = entry[1] end
  if #ids == room or i == 500 then
    last = entry[1]
    break
  end
end
return {last, claim(ids, ARGV[2])}
