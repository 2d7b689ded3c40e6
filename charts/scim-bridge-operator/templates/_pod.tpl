{{/*
What the Pod of the operator and the Pod of `helm test` have in common.
*/}}

{{- define "scim-bridge-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The arguments that say where it works: `run` stands on them, `preflight` examines them. Takes `.Shard`. */}}
{{- define "scim-bridge-operator.footing" -}}
{{- with .Values.watchNamespaces }}
- {{ printf "--namespaces=%s" (join "," .) | quote }}
{{- end }}
{{- if .Values.leaderElection.enabled }}
- {{ printf "--lease-name=%s" (include "scim-bridge-operator.shardName" .) | quote }}
- {{ printf "--lease-namespace=%s" .Release.Namespace | quote }}
{{- else }}
- --leader-elect=false
{{- end }}
{{- end -}}

{{/* Fields of a Pod that do not depend on what runs in it. */}}
{{- define "scim-bridge-operator.podSpec" -}}
serviceAccountName: {{ include "scim-bridge-operator.serviceAccountName" . | quote }}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
# The variables that Services of the namespace would add are nobody's business here.
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

{{/* Fields of a container that do not depend on what it runs. */}}
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

{{/* Variables of both containers. */}}
{{- define "scim-bridge-operator.env" -}}
{{- if include "scim-bridge-operator.trustVolume" . }}
- name: SSL_CERT_FILE
  value: /etc/scim-bridge-operator/trust/ca.crt
{{- if .Values.trust.systemRoots }}
# A variable of its own, for SSL_CERT_FILE alone takes the place of the image's authorities.
- name: SSL_CERT_DIR
  value: /etc/ssl/certs
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The volume with the trusted authorities; nothing where there are none. */}}
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

{{/* Seconds of a duration such as 1h30m. The schema has seen to its form. */}}
{{- define "scim-bridge-operator.seconds" -}}
{{- $seconds := 0 -}}
{{- range regexFindAll "[0-9]+[hms]" . -1 -}}
{{- $unit := get (dict "h" 3600 "m" 60 "s" 1) (regexFind "[hms]" .) -}}
{{- $seconds = add $seconds (mul (regexFind "[0-9]+" . | int) $unit) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}
