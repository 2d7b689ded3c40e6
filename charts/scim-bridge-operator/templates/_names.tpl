{{/*
Names and labels. Every definition takes the root context. Some also take `.Shard`, and say so: the name of a shard, or
nothing for the default shard.
*/}}

{{- define "scim-bridge-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{/* A Service has the same name, so it has no dots and begins with a letter (RFC 1035). A release's name may break these
rules. It has at most 53 characters, so cutting at 63 leaves it whole. */}}
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

{{/* Name of a shard's Deployment, Lease, Service and budget. Takes `.Shard`. It is not cut, so that no two shards have
the same name. */}}
{{- define "scim-bridge-operator.shardName" -}}
{{- include "scim-bridge-operator.fullname" . -}}
{{- with .Shard }}-{{ . }}{{ end -}}
{{- end -}}

{{/* Labels that select the Pods of one shard only. Takes `.Shard`. A selector can never change, so it depends on the
names alone. The component differs too, because the default shard's selector does not exclude other shards. */}}
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

{{/* Label that names the shard of an object, if there are several shards. Takes `.Shard`. */}}
{{- define "scim-bridge-operator.shardLabels" -}}
{{- if .Values.shards -}}
scimbridge.dev/shard: {{ .Shard | default "default" | quote }}
{{- end -}}
{{- end -}}

{{/* Label selector of the connections of a shard. Takes `.Shard`. Each connection is in one shard: the default shard has
all connections without the label or with another value. */}}
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

{{/* Labels for the Pod of `helm test`: neither the Service nor the budget may select it. */}}
{{- define "scim-bridge-operator.preflightLabels" -}}
app.kubernetes.io/name: {{ include "scim-bridge-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: preflight
{{- end -}}

{{/* Labels of every object, as a map. The chart's labels take precedence over commonLabels. */}}
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
