{{/*
Names and labels. Every definition takes the root context.
*/}}

{{- define "scim-bridge-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "scim-bridge-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "scim-bridge-operator.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "scim-bridge-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "scim-bridge-operator.fullname" .) -}}
{{- end -}}

{{/* What selects the operator's Pods. It can never change, and no value reaches it but the names. */}}
{{- define "scim-bridge-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "scim-bridge-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* The same for the Pod of `helm test`: the Service and the budget must not count it. */}}
{{- define "scim-bridge-operator.preflightLabels" -}}
app.kubernetes.io/name: {{ include "scim-bridge-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
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
