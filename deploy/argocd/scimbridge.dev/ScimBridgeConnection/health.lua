-- Health of a ScimBridgeConnection. It uses no string library, because Argo CD opens none for customizations.

local conditions = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    conditions[condition.type] = condition
  end
end
local ready = conditions["Ready"]

local function is(name, status)
  return conditions[name] ~= nil and conditions[name].status == status
end

-- Reason and message of Ready, and conditions that somebody should look at.
local function verdict(status)
  local message = ready.reason .. ": " .. ready.message
  for _, notable in ipairs({{"Degraded", "True"}, {"CertificateExpiring", "True"}, {"NextApiKeyValid", "False"}}) do
    local name, value = notable[1], notable[2]
    if is(name, value) then
      message = message .. " " .. name .. "=" .. value .. ": " .. conditions[name].message
    end
  end
  return {status = status, message = message}
end

if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "Being deleted."}
end
if obj.spec.suspend == true then
  return {status = "Suspended", message = "Not probed while spec.suspend is true: the status may be out of date."}
end
if ready == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not judged this specification yet."}
end
if is("Stalled", "True") then
  return verdict("Degraded")
end
if is("Ready", "True") then
  return verdict("Healthy")
end
if is("Reconciling", "True") then
  return verdict("Progressing")
end
return verdict("Degraded")
