local function content(fields, most)
  local size = 0
  for i = 1, #fields do size = size + #fields[i] end
  if most > 0 and size > most then return size, false end
  return size, fields
end
