-- Health of a ScimUser or ScimGroup. It uses no string library, because Argo CD opens none for customizations.

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

local function verdict(status)
  return {status = status, message = ready.reason .. ": " .. ready.message}
end

if obj.metadata.deletionTimestamp ~= nil then
  return {status = "Progressing", message = "Being deleted. The bridge stays as it is."}
end
if ready == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not compared this specification with the bridge yet."}
end
if is("Ready", "True") then
  return verdict("Healthy")
end
-- Somebody has paused the object, so the difference stays.
if obj.spec.paused == true and ready.reason == "ChangePlanned" then
  return verdict("Suspended")
end
if is("Stalled", "True") then
  return verdict("Degraded")
end
if is("Reconciling", "True") then
  return verdict("Progressing")
end
return verdict("Degraded")
