local stream, due, contents = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, id, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local waits = redis.call('HEXISTS', contents, id) == 1
redis.call('ZSCORE', due, id) -- a key of another type is refused here
local rows = redis.pcall('XPENDING', stream, group, id, id, 1)
if rows.err then return waits and 'waits' or rows end
local row = rows[1]
if not row then
  if waits then return 'waits' end
  if ARGV[6] ~= '1' then return 'dropped' end
elseif row[2] ~= consumer or count > 0 and row[4] ~= count then
  return 'lost'
end
local found = redis.call('XRANGE', stream, id, id)
if #found == 0 then return 'gone' end
local no = denied('HSET', contents, id, '') or denied('ZADD', due, '0', id) or denied('XACK', stream, group, id)
if no then return no end
local words = found[1][2]
table.insert(words, 1, row and row[4] or tonumber(ARGV[7]))
redis.call('HSET', contents, id, cmsgpack.pack(words))
redis.call('ZADD', due, string.format('%.0f', clock() + ARGV[5]), id)
if row then redis.call('XACK', stream, group, id) end
return 'waits'
