{{ template "postern/install.sql" . }}
