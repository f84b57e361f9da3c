create or replace function postern.schema_version()
returns integer
language plpgsql immutable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return 24;
end
$$;

comment on function postern.schema_version() is
'The number of the migration that this code package belongs to.
Called by: the gateway at start, to compare with its own.
Refuses: never.';
