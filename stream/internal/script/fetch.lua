local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return {} end
return {content(found[1][2], tonumber(ARGV[2]))}
