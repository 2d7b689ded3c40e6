{{/*
Names and labels. Every definition takes the root context. Those that say so take it with `.Shard` beside it: the name
of a shard, or nothing for the one that is always there.
*/}}

{{- define "scim-bridge-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{/* It is the name of a Service too, which has no dots and begins with a letter (RFC 1035). A release may be named
otherwise. What is cut off leaves the release's name whole, which has at most 53 characters. */}}
{{- define "scim-bridge-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := include "scim-bridge-operator.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full = regexMatch "^[0-9]" $full | ternary (printf "r%s" $full) $full -}}
{{- regexReplaceAll "-+$" ($full | replace "." "-" | trunc 63) "" -}}
{{- end -}}
{{- end -}}

{{- define "scim-bridge-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "scim-bridge-operator.fullname" .) -}}
{{- end -}}

{{/* Name of a shard's Deployment, and of what belongs to it: Lease, Service, budget. Takes `.Shard`. Nothing is cut off,
so that no two are the same. */}}
{{- define "scim-bridge-operator.shardName" -}}
{{- include "scim-bridge-operator.fullname" . -}}
{{- with .Shard }}-{{ . }}{{ end -}}
{{- end -}}

{{/* What selects the Pods of a shard, and of no other. Takes `.Shard`. It can never change, and no value reaches it but
the names. The component differs too, for the selector of the shard that is always there knows of no others. */}}
{{- define "scim-bridge-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "scim-bridge-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- if .Shard }}
app.kubernetes.io/component: shard
scimbridge.dev/shard: {{ .Shard | quote }}
{{- else }}
app.kubernetes.io/component: operator
{{- end }}
{{- end -}}

{{/* Says of an object which shard it belongs to, where there are several. Takes `.Shard`. */}}
{{- define "scim-bridge-operator.shardLabels" -}}
{{- if .Values.shards -}}
scimbridge.dev/shard: {{ .Shard | default "default" | quote }}
{{- end -}}
{{- end -}}

{{/* Label selector of the connections of a shard. Takes `.Shard`. Together the shards have each connection once: what has
none of their names is everything else, with and without the label. */}}
{{- define "scim-bridge-operator.watched" -}}
{{- $terms := list -}}
{{- if .Shard -}}
{{- $terms = append $terms (printf "scimbridge.dev/shard=%s" .Shard) -}}
{{- else if .Values.shards -}}
{{- $terms = append $terms (printf "scimbridge.dev/shard notin (%s)" (join "," .Values.shards)) -}}
{{- end -}}
{{- with .Values.watchLabelSelector -}}
{{- $terms = append $terms . -}}
{{- end -}}
{{- join "," $terms -}}
{{- end -}}

{{/* The same for the Pod of `helm test`: the Service and the budget must not count it. */}}
{{- define "scim-bridge-operator.preflightLabels" -}}
app.kubernetes.io/name: {{ include "scim-bridge-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: preflight
{{- end -}}

{{/* Labels of every object, as a map. Those of the chart win over commonLabels. */}}
{{- define "scim-bridge-operator.labels" -}}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/name" (include "scim-bridge-operator.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/managed-by" .Release.Service
-}}
{{- toYaml (merge $labels .Values.commonLabels) -}}
{{- end -}}
