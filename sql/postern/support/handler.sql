{{- define "caught" -}}
exception when others or assert_failure then
        -- DESIGN 6: refusals and errors of users' code become the answer; what another try may cure is raised again, as it is.
        declare
            v_state text;
            v_message text;
            v_detail text;
            v_hint text;
            v_schema text;
            v_column text;
            v_datatype text;
            v_context text;
        begin
            get stacked diagnostics
                v_state = returned_sqlstate,
                v_message = message_text,
                v_detail = pg_exception_detail,
                v_hint = pg_exception_hint,
                v_schema = schema_name,
                v_column = column_name,
                v_datatype = pg_datatype_name,
                v_context = pg_exception_context;
            if postern._is_passing(v_state) then
                raise;
            end if;
            -- The row of auth that a constraint refuses, as it stands: hashes are not for whoever asks (POST /recover).
            if v_schema = 'auth' and v_state in ('23502', '23514') then
                v_detail := '';
            end if;
            return postern._refusal(
                '{{ . }}', v_state, v_message, v_detail, v_hint, v_column, v_datatype, v_context, caller)
{{- end -}}

{{- define "handler" -}}
{{ template "caught" . }};
        end;
{{- end -}}

{{- /* The same in a function that answers with text. */ -}}
{{- define "text handler" -}}
{{ template "caught" . }}::text;
        end;
{{- end -}}
