{{- define "postern.selector" -}}
app.kubernetes.io/name: postern
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "postern.labels" -}}
{{ include "postern.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "postern.image" -}}
{{- with .Values.image }}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* Flags of `settings`, one item each. */}}
{{- define "postern.flags" -}}
{{- range $name, $value := .Values.settings }}
{{- if kindIs "slice" $value }}
{{- range $value }}
- {{ printf "--%s=%v" $name . | quote }}
{{- end }}
{{- else }}
- {{ printf "--%s=%v" $name $value | quote }}
{{- end }}
{{- end }}
{{- with .Values.namespaces }}
- {{ printf "--namespaces=%s" (join "," .) | quote }}
- --knative-namespace=off
{{- end }}
{{- end }}

{{/* What may be read of the objects that live in a namespace. */}}
{{- define "postern.rules" -}}
- apiGroups: [networking.internal.knative.dev]
  resources: [ingresses]
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  resources: {{ if .Values.namespaces }}[ingresses]{{ else }}[ingresses, ingressclasses]{{ end }}
  verbs: [list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# Listed and watched as metadata; the data of one Secret is fetched when a handshake needs it.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end }}
