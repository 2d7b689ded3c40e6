{{/*
Parts that the Pod of the operator and the Pod of `helm test` share.
*/}}

{{- define "scim-bridge-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Arguments for namespaces, kinds and Lease: `run` uses them, and `preflight` checks them. Takes `.Shard`. */}}
{{- define "scim-bridge-operator.scope" -}}
{{- with .Values.watchNamespaces }}
- {{ printf "--namespaces=%s" (join "," .) | quote }}
{{- end }}
{{- if .Values.provisioning.enabled }}
- --provisioning
{{- end }}
{{- if .Values.leaderElection.enabled }}
- {{ printf "--lease-name=%s" (include "scim-bridge-operator.shardName" .) | quote }}
- {{ printf "--lease-namespace=%s" .Release.Namespace | quote }}
{{- else }}
- --leader-elect=false
{{- end }}
{{- end -}}

{{/* Fields that both Pods have. */}}
{{- define "scim-bridge-operator.podSpec" -}}
serviceAccountName: {{ include "scim-bridge-operator.serviceAccountName" . | quote }}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
# The operator does not need the variables of the namespace's Services.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or (include "scim-bridge-operator.trustVolume" .) .Values.extraVolumes }}
volumes:
  {{- with include "scim-bridge-operator.trustVolume" . }}
  {{- . | trim | nindent 2 }}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Fields that both containers have. */}}
{{- define "scim-bridge-operator.container" -}}
image: {{ include "scim-bridge-operator.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or (include "scim-bridge-operator.trustVolume" .) .Values.extraVolumeMounts }}
volumeMounts:
  {{- if include "scim-bridge-operator.trustVolume" . }}
  - name: trust
    mountPath: /etc/scim-bridge-operator/trust
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Environment variables that both containers have. */}}
{{- define "scim-bridge-operator.env" -}}
{{- if include "scim-bridge-operator.trustVolume" . }}
- name: SSL_CERT_FILE
  value: /etc/scim-bridge-operator/trust/ca.crt
{{- if .Values.trust.systemRoots }}
# SSL_CERT_FILE alone would replace the image's authorities. This variable adds them again.
- name: SSL_CERT_DIR
  value: /etc/ssl/certs
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The volume with the trusted authorities, or nothing if no value names any. */}}
{{- define "scim-bridge-operator.trustVolume" -}}
{{- with .Values.trust }}
{{- if .configMap.name }}
- name: trust
  configMap:
    name: {{ .configMap.name | quote }}
    items:
      - key: {{ .configMap.key | quote }}
        path: ca.crt
{{- else if .secret.name }}
- name: trust
  secret:
    secretName: {{ .secret.name | quote }}
    items:
      - key: {{ .secret.key | quote }}
        path: ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/* Seconds of a duration such as 1h30m. The schema has checked its form. */}}
{{- define "scim-bridge-operator.seconds" -}}
{{- $seconds := 0 -}}
{{- range regexFindAll "[0-9]+[hms]" . -1 -}}
{{- $unit := get (dict "h" 3600 "m" 60 "s" 1) (regexFind "[hms]" .) -}}
{{- $seconds = add $seconds (mul (regexFind "[0-9]+" . | int) $unit) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}
