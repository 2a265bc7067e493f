local entries, at = {}, 4
while at <= #ARGV do
  entries[#entries + 1] = {id = ARGV[at], count = tonumber(ARGV[at + 1]), list = at + 2}
  at = effects(at + 2)
end

local of, lists, lost, dropped = {}, {}, {}, {}
local ack = {'XACK', KEYS[1], ARGV[1]}
for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], entries[1].id, entries[#entries].id, #entries, ARGV[2])) do of[row[1]] = row end
for _, entry in ipairs(entries) do
  local row = of[entry.id] or redis.call('XPENDING', KEYS[1], ARGV[1], entry.id, entry.id, 1)[1]
  if not row then
    dropped[#dropped + 1] = entry.id
  elseif row[2] ~= ARGV[2] or entry.count > 0 and row[4] ~= entry.count then
    lost[#lost + 1] = entry.id
  else
    lists[#lists + 1] = entry.list
    ack[#ack + 1] = entry.id
  end
end
if #lists > 0 then
  local problem = denied('XACK', KEYS[1], ARGV[1], '0-0') or refusal(ARGV[3], lists) or perform(lists) or attempt(unpack(ack))
  if problem then return redis.error_reply(problem) end
end
return {lost, dropped}
