-- Stops the probes. The status stays as it is.
obj.spec.suspend = true
return obj
