local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if #pending == 0 then return {replaced(ARGV[3]) and 'gone' or 'dropped'} end
if pending[1][2] ~= ARGV[2] then return {'lost'} end
local count = pending[1][4] + ARGV[4]
local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', count)
if #claimed == 0 then return {'gone'} end
return {'ours', count, content(claimed[1][2], tonumber(ARGV[5]))}
