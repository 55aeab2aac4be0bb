{{- define "recapito.name" -}}
{{- if contains "recapito" .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-recapito" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "recapito.selector" -}}
app.kubernetes.io/name: recapito
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "recapito.labels" -}}
{{ include "recapito.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}
