-- Nothing is probed while a connection is suspended, so there is nothing to ask for either.
local suspended = obj.spec.suspend == true

return {
  ["recheck"] = {["disabled"] = suspended},
  ["suspend"] = {["disabled"] = suspended},
  ["resume"] = {["disabled"] = not suspended},
}
