{{/*
Refuses valid values that do not fit together. Each message is one line, and ends with the next step.
*/}}
{{- define "scim-bridge-operator.refuse" -}}
{{- $values := .Values -}}
{{- if not $values.leaderElection.enabled -}}
{{- if gt (int $values.replicas) 1 -}}
{{- fail (printf "replicas is %d, and leaderElection.enabled is false: all Pods would work at the same time. Set replicas to 1, or leaderElection.enabled to true" (int $values.replicas)) -}}
{{- end -}}
{{- if and $values.strategy (ne (get $values.strategy "type" | default "RollingUpdate") "Recreate") -}}
{{- fail "strategy is a rolling update, and leaderElection.enabled is false: two Pods would work during an upgrade. Set strategy.type to Recreate, or leaderElection.enabled to true" -}}
{{- end -}}
{{- end -}}
{{- range $values.shards -}}
{{- if eq . "default" -}}
{{- fail "shards has a shard named default: the default shard always exists. Choose another name" -}}
{{- end -}}
{{- $name := include "scim-bridge-operator.shardName" (merge (dict "Shard" .) $) -}}
{{- if gt (len $name) 63 -}}
{{- fail (printf "shards has a shard %s, and the name of its Deployment (%s) would have more than 63 characters. Set a shorter fullnameOverride, or choose a shorter name for the shard" . $name) -}}
{{- end -}}
{{- end -}}
{{- with $values.podDisruptionBudget -}}
{{- if and (ne (toString .minAvailable) "") (ne (toString .maxUnavailable) "") -}}
{{- fail "podDisruptionBudget.minAvailable and maxUnavailable are both set. Set only one of them" -}}
{{- end -}}
{{- end -}}
{{- if and (not $values.serviceAccount.create) (not $values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false, and serviceAccount.name is empty: set the name of the ServiceAccount to use" -}}
{{- end -}}
{{- if and $values.admissionPolicy.enabled (not $values.addressPolicy.allowedHosts) -}}
{{- fail "admissionPolicy.enabled is true, and addressPolicy.allowedHosts is empty: list the hosts to allow" -}}
{{- end -}}
{{- if and $values.trust.configMap.name $values.trust.secret.name -}}
{{- fail "trust.configMap.name and trust.secret.name are both set. Set only one of them" -}}
{{- end -}}
{{- if and $values.proxy.url $values.proxy.urlSecret.name -}}
{{- fail "proxy.url and proxy.urlSecret.name are both set. Set only one of them" -}}
{{- end -}}
{{- if and $values.proxy.noProxy (not $values.proxy.url) (not $values.proxy.urlSecret.name) -}}
{{- fail "proxy.noProxy is set, but no proxy. Set proxy.url or proxy.urlSecret.name" -}}
{{- end -}}
{{- if gt (include "scim-bridge-operator.seconds" $values.heartbeat | int) 86400 -}}
{{- fail (printf "heartbeat is %s. Set at most 24h" $values.heartbeat) -}}
{{- end -}}
{{- $settable := dict "admin-addr" "adminAddress" "bridge-proxy" "proxy.url" "concurrency" "concurrency" "drain-timeout" "drainTimeout" "heartbeat" "heartbeat" "leader-elect" "leaderElection.enabled" "lease-name" "fullnameOverride" "lease-namespace" "the namespace of the release" "log-format" "logging.format" "log-level" "logging.level" "namespaces" "watchNamespaces" "provisioning" "provisioning.enabled" "require-secret-consent" "addressPolicy.requireSecretConsent" "watch-label-selector" "watchLabelSelector" -}}
{{- range $values.extraArgs -}}
{{- $flag := regexFind "^--[a-z-]+" . | trimPrefix "--" -}}
{{- with get $settable $flag -}}
{{- fail (printf "extraArgs has --%s, which the chart sets itself. Use %s instead" $flag .) -}}
{{- end -}}
{{- end -}}
{{- with $values.networkPolicy -}}
{{- if and .enabled .egress.restrict -}}
{{- if not .egress.apiServer.cidrs -}}
{{- fail "networkPolicy.egress.restrict is true, and apiServer.cidrs is empty: list the addresses that `kubectl get endpointslices -n default kubernetes` shows" -}}
{{- end -}}
{{- if not .egress.bridges -}}
{{- fail "networkPolicy.egress.restrict is true, and bridges is empty: the operator could reach no bridge. Add egress rules that lead to the bridges" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
