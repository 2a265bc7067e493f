local of, lost, dropped, gone = owners(3, 1), {}, {}, {}
local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}
for i = 3, #ARGV do
  local entry = of[ARGV[i]]
  if not entry then
    local list = replaced(ARGV[i]) and gone or dropped
    list[#list + 1] = ARGV[i]
  elseif entry[2] ~= ARGV[2] then
    lost[#lost + 1] = ARGV[i]
  else
    claim[#claim + 1] = ARGV[i]
  end
end
if #claim > 5 then
  local there = {}
  claim[#claim + 1] = 'JUSTID'
  for _, id in ipairs(redis.call(unpack(claim))) do there[id] = true end
  for i = 6, #claim - 1 do
    if not there[claim[i]] then gone[#gone + 1] = claim[i] end
  end
end
return {lost, dropped, gone}
