local due, contents, ticket = KEYS[1], KEYS[2], ARGV[1]
if redis.call('HEXISTS', contents, ticket) == 1 then return 'there' end
redis.call('ZSCORE', due, ticket) -- a key of another type is refused here
local now = clock()
local no = denied('HSET', contents, ticket, '') or denied('ZADD', due, ARGV[2], ticket)
if no then return no end
if ARGV[3] == '1' and now >= tonumber(ARGV[2]) then return 'unknown' end
local words = {}
for i = 4, #ARGV do words[#words + 1] = ARGV[i] end
redis.call('HSET', contents, ticket, cmsgpack.pack(words))
redis.call('ZADD', due, ARGV[2], ticket)
return 'added'
