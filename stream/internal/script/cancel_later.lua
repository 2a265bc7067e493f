local due, contents, ticket = KEYS[1], KEYS[2], ARGV[1]
redis.call('ZSCORE', due, ticket) -- a key of another type is refused here
local no = denied('HDEL', contents, ticket) or denied('ZREM', due, ticket)
if no then return no end
local there = redis.call('HDEL', contents, ticket)
redis.call('ZREM', due, ticket)
return there
