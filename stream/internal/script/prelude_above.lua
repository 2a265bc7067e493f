local function over(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local function above(a, b)
  local ams, aseq = string.match(a, '^(%d+)-(%d+)$')
  local bms, bseq = string.match(b, '^(%d+)-(%d+)$')
  return over(ams, bms) or ams == bms and over(aseq, bseq)
end
