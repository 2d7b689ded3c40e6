-- Probes again, and once at once.
obj.spec.suspend = false
return obj
