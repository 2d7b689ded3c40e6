{{/*
Restores defaults for null values. Helm removes the default of such a value, and everything below it. Every template
begins with this, because Helm does not promise which it renders first.
*/}}
{{- define "scim-bridge-operator.fillIn" -}}
{{- include "scim-bridge-operator.fillInMap" (dict "values" .Values "defaults" (include "scim-bridge-operator.defaults" . | fromYaml)) -}}
{{- end -}}

{{/* Takes a map of values and the map of their defaults. Maps in `$open` go to Kubernetes as they are: there null removes
an entry. */}}
{{- define "scim-bridge-operator.fillInMap" -}}
{{- $open := list "podSecurityContext" "securityContext" "resources" "labels" -}}
{{- range $name, $default := .defaults -}}
{{- $value := index $.values $name -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := set $.values $name $default -}}
{{- else if and (kindIs "map" $default) (not (has $name $open)) -}}
{{- include "scim-bridge-operator.fillInMap" (dict "values" $value "defaults" $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}
