-- Starts the probes again, with one at once.
obj.spec.suspend = false
return obj
