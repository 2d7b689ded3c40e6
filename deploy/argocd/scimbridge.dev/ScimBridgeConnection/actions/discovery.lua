-- The operator does not probe a suspended connection, so recheck is off for it.
local suspended = obj.spec.suspend == true

return {
  ["recheck"] = {["disabled"] = suspended},
  ["suspend"] = {["disabled"] = suspended},
  ["resume"] = {["disabled"] = not suspended},
}
