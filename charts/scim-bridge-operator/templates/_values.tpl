{{/*
Values that are null. Helm removes the default of such a value, and what is below it; here it is put back. Each template
begins with this, for nothing says which is rendered first.
*/}}
{{- define "scim-bridge-operator.fillIn" -}}
{{- include "scim-bridge-operator.fillInMap" (dict "values" .Values "defaults" (include "scim-bridge-operator.defaults" . | fromYaml)) -}}
{{- end -}}

{{/* Takes a map of values and the map of their defaults. What is below the maps that stand here goes to Kubernetes as it
is: there null is for who wants an entry away. */}}
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
