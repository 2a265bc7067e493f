local ids = {}
for i, entry in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[4], ARGV[3])) do ids[i] = entry[1] end
return {claim(ids, ARGV[2])}
