{{/*
Checks a CRD that exists already. Helm without a cluster (`helm template`, Argo CD) finds no CRD, and refuses nothing.
*/}}

{{/* Refuses an existing CRD that this release must not touch. Takes the root context and the CRD of the chart. */}}
{{- define "scim-bridge-operator.refuseCrd" -}}
{{- $root := .root -}}
{{- $crds := $root.Values.crds -}}
{{- $name := .crd.metadata.name -}}
{{- $live := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name -}}
{{- if $live -}}
{{- $strange := "" -}}
{{- if ne $live.spec.names.kind .crd.spec.names.kind -}}
{{- $strange = printf "it is for kind %s" $live.spec.names.kind -}}
{{- else if ne $live.spec.scope .crd.spec.scope -}}
{{- $strange = printf "its scope is %s" $live.spec.scope -}}
{{- else -}}
{{- $version := first .crd.spec.versions -}}
{{- /* Every version has the required fields, because a later one requires no more. */ -}}
{{- $required := $version.schema.openAPIV3Schema.properties.spec.required -}}
{{- $strange = printf "it has no version %s with spec.%s" $version.name (join " and spec." $required) -}}
{{- range $live.spec.versions -}}
{{- $spec := dig "schema" "openAPIV3Schema" "properties" "spec" "properties" dict . -}}
{{- $lacks := list -}}
{{- range $required -}}
{{- if not (hasKey $spec .) -}}
{{- $lacks = append $lacks . -}}
{{- end -}}
{{- end -}}
{{- if and (eq .name $version.name) (not $lacks) -}}
{{- $strange = "" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $strange -}}
{{- fail (printf "another product owns CRD %s (%s). It was not changed. Both products cannot share a cluster. Ask its owner before you delete the CRD: that deletes all its objects" $name $strange) -}}
{{- end -}}
{{- $annotations := $live.metadata.annotations | default dict -}}
{{- $release := get $annotations "meta.helm.sh/release-name" -}}
{{- $namespace := get $annotations "meta.helm.sh/release-namespace" -}}
{{- $managed := eq (get ($live.metadata.labels | default dict) "app.kubernetes.io/managed-by") "Helm" -}}
{{- $own := and $managed (eq $release $root.Release.Name) (eq $namespace $root.Release.Namespace) -}}
{{- if not (or $own $crds.adopt) -}}
{{- $owner := "no Helm release" -}}
{{- if and $managed $release -}}
{{- $owner = printf "Helm release %s in namespace %s" $release $namespace -}}
{{- end -}}
{{- $force := semverCompare ">=4.0.0-0" $root.Capabilities.HelmVersion.Version | ternary ", and add --force-conflicts to this command" "" -}}
{{- fail (printf "CRD %s exists and belongs to %s. To use it as it is, set crds.install=false. To give it to this release, run `kubectl label crd %s app.kubernetes.io/managed-by=Helm --overwrite && kubectl annotate crd %s meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s --overwrite`%s" $name $owner $name $name $root.Release.Name $root.Release.Namespace $force) -}}
{{- end -}}
{{- end -}}
{{- end -}}
