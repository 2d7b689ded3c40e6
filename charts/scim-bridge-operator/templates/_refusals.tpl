{{/*
Values that are well-formed one by one, and make no sense together. Each ends in one line that says what to do.
*/}}
{{- define "scim-bridge-operator.refuse" -}}
{{- $values := .Values -}}
{{- if not $values.leaderElection.enabled -}}
{{- if gt (int $values.replicas) 1 -}}
{{- fail (printf "replicas is %d without leaderElection.enabled: every Pod would work. Set replicas to 1, or switch leader election on" (int $values.replicas)) -}}
{{- end -}}
{{- if and $values.strategy (ne (get $values.strategy "type" | default "RollingUpdate") "Recreate") -}}
{{- fail "strategy is a rolling update without leaderElection.enabled: during an upgrade two Pods would work. Set strategy.type to Recreate, or switch leader election on" -}}
{{- end -}}
{{- end -}}
{{- range $values.shards -}}
{{- if eq . "default" -}}
{{- fail "shards has a shard named default: that is the one that is always there, for connections of no other. Choose another name" -}}
{{- end -}}
{{- $name := include "scim-bridge-operator.shardName" (merge (dict "Shard" .) $) -}}
{{- if gt (len $name) 63 -}}
{{- fail (printf "shards has a shard %s, whose Deployment would be named %s: that is more than 63 characters. Set a shorter fullnameOverride, or choose a shorter name" . $name) -}}
{{- end -}}
{{- end -}}
{{- with $values.podDisruptionBudget -}}
{{- if and (ne (toString .minAvailable) "") (ne (toString .maxUnavailable) "") -}}
{{- fail "podDisruptionBudget.minAvailable and maxUnavailable are both set: a budget takes one of them" -}}
{{- end -}}
{{- end -}}
{{- if and (not $values.serviceAccount.create) (not $values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false, and serviceAccount.name is empty: name the ServiceAccount to use" -}}
{{- end -}}
{{- if and $values.admissionPolicy.enabled (not $values.addressPolicy.allowedHosts) -}}
{{- fail "admissionPolicy.enabled is true, and addressPolicy.allowedHosts is empty: name the hosts that it has to allow" -}}
{{- end -}}
{{- if and $values.trust.configMap.name $values.trust.secret.name -}}
{{- fail "trust.configMap.name and trust.secret.name are both set: the authorities come from one of them" -}}
{{- end -}}
{{- if and $values.proxy.url $values.proxy.urlSecret.name -}}
{{- fail "proxy.url and proxy.urlSecret.name are both set: the proxy's address comes from one of them" -}}
{{- end -}}
{{- if and $values.proxy.noProxy (not $values.proxy.url) (not $values.proxy.urlSecret.name) -}}
{{- fail "proxy.noProxy is set, and there is no proxy: set proxy.url or proxy.urlSecret.name" -}}
{{- end -}}
{{- if gt (include "scim-bridge-operator.seconds" $values.heartbeat | int) 86400 -}}
{{- fail (printf "heartbeat is %s: set 24h at most" $values.heartbeat) -}}
{{- end -}}
{{- $settable := dict "admin-addr" "adminAddress" "bridge-proxy" "proxy.url" "concurrency" "concurrency" "drain-timeout" "drainTimeout" "heartbeat" "heartbeat" "leader-elect" "leaderElection.enabled" "lease-name" "fullnameOverride" "lease-namespace" "the namespace of the release" "log-format" "logging.format" "log-level" "logging.level" "namespaces" "watchNamespaces" "require-secret-consent" "addressPolicy.requireSecretConsent" "watch-label-selector" "watchLabelSelector" -}}
{{- range $values.extraArgs -}}
{{- $flag := regexFind "^--[a-z-]+" . | trimPrefix "--" -}}
{{- with get $settable $flag -}}
{{- fail (printf "extraArgs has --%s, which the operator takes once: set %s instead" $flag .) -}}
{{- end -}}
{{- end -}}
{{- with $values.networkPolicy -}}
{{- if and .enabled .egress.restrict -}}
{{- if not .egress.apiServer.cidrs -}}
{{- fail "networkPolicy.egress.restrict is true, and apiServer.cidrs is empty: name what `kubectl get endpointslices -n default kubernetes` lists" -}}
{{- end -}}
{{- if not .egress.bridges -}}
{{- fail "networkPolicy.egress.restrict is true, and bridges is empty: no bridge could be reached. Add egress rules that lead to them" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
