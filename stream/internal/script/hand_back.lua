local of, returned, gone = owners(4, 2), 0, {}
for i = 4, #ARGV, 2 do
  local entry = of[ARGV[i]]
  if entry and entry[2] == ARGV[2] then
    local count = math.max(0, entry[4] - tonumber(ARGV[i + 1]))
    local taken, dropped = claim({ARGV[i]}, ARGV[3], 'IDLE', 86400000, 'RETRYCOUNT', count)
    returned = returned + #taken
    gone[#gone + 1] = dropped[1]
  end
end
return {returned, gone}
