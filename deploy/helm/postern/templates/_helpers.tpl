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
{{- if and .Values.service.create (ne .Release.Name "postern") }}
- {{ printf "--public-service=%s" .Release.Name | quote }}
- {{ printf "--internal-service=%s-internal" .Release.Name | quote }}
- {{ printf "--lease-name=%s" .Release.Name | quote }}
{{- end }}
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

{{/* What may be done with the objects that live in a namespace. */}}
{{- define "postern.rules" -}}
# Patched to remove the finalizer of earlier versions; the status is patched alone. An Event needs the object's uid.
- apiGroups: [networking.internal.knative.dev]
  resources: [ingresses]
  verbs: [get, list, watch, patch]
- apiGroups: [networking.internal.knative.dev, networking.k8s.io]
  resources: [ingresses/status]
  verbs: [patch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch]
{{- if not .Values.namespaces }}
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [list, watch]
{{- end }}
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
# For rejected Ingresses.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
