-- Mail and SMS wait here, committed with the change that they announce; and what the gateway hands over for one of them.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

create type postern.envelope as (
    outbox_id uuid,
    code_hmac bytea,
    link_digest text,
    sealed bytea,
    redirect_to text,
    languages text,
    link_host text
);

create table auth.outbox (
    id uuid not null,
    channel text not null,
    kind text not null,
    recipient text not null,
    user_id uuid,
    payload jsonb not null default '{}',
    sealed bytea,
    state text not null default 'queued',
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now(),
    leased_by text,
    last_reply text,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    expires_at timestamptz not null,
    request_id text,
    constraint outbox_pkey primary key (id),
    constraint outbox_channel_check check (channel in ('email', 'sms')),
    constraint outbox_state_check check (state in ('queued', 'sent', 'dead', 'expired')),
    constraint outbox_attempts_check check (attempts >= 0)
) with (fillfactor = 70);
-- The table is new: nobody can be waiting for it.
-- squawk-ignore require-concurrent-index-creation
create index outbox_next_attempt_at_idx on auth.outbox (next_attempt_at) where state = 'queued';
-- squawk-ignore require-concurrent-index-creation
create index outbox_created_at_idx on auth.outbox (created_at);
alter table auth.outbox enable row level security;

comment on table auth.outbox is
    'Mail and SMS on their way, one row each; sent rows stay for a while as a record, without their secrets.';
comment on column auth.outbox.id is 'Also the local part of the mail''s Message-ID, so that a repetition can be told.';
comment on column auth.outbox.channel is 'email or sms.';
comment on column auth.outbox.kind is 'Which template: the name in contract core.md 9.1, or the purpose of an SMS.';
comment on column auth.outbox.recipient is 'Address or number.';
comment on column auth.outbox.user_id is 'The account it is about.';
comment on column auth.outbox.payload is 'What the template shows that is no secret.';
comment on column auth.outbox.sealed is 'Code and link token, sealed by the gateway with a key outside of the database; null once sent, dead or expired.';
comment on column auth.outbox.state is 'queued, sent, dead (given up) or expired (its code would no longer work).';
comment on column auth.outbox.attempts is 'How often a delivery was begun.';
comment on column auth.outbox.next_attempt_at is 'When it may be claimed; while a gateway works on it, when its claim ends.';
comment on column auth.outbox.leased_by is 'The gateway that works on it.';
comment on column auth.outbox.last_reply is 'What the relay or provider said last, in its own words.';
comment on column auth.outbox.created_at is 'When it was queued.';
comment on column auth.outbox.sent_at is 'When a relay or provider took it.';
comment on column auth.outbox.expires_at is 'When delivering it would be of no use any more.';
comment on column auth.outbox.request_id is 'The request that caused it.';

revoke all on table auth.outbox from public, anon, authenticated, service_role, postern_gateway;

-- Codes and links that Supabase Auth mailed go on working: what it stored is hashed once more, as what it stores could be
-- presented as it stands. Nothing happens to the accounts, so that triggers of users are left out of it.
do $$
declare
    v_trigger record;
    v_triggers jsonb := '[]';
begin
    for v_trigger in
        select t.tgrelid::regclass as table_name, t.tgname, t.tgenabled
          from pg_trigger t
         where t.tgrelid in ('auth.users'::regclass, 'auth.one_time_tokens'::regclass)
           and not t.tgisinternal
           and t.tgenabled <> 'D'
    loop
        v_triggers := v_triggers || to_jsonb(v_trigger);
        execute format('alter table %s disable trigger %I', v_trigger.table_name, v_trigger.tgname);
    end loop;

    update auth.one_time_tokens
       set token_hash = encode(sha256(convert_to(token_hash, 'UTF8')), 'hex');
    update auth.users
       set confirmation_token = case when confirmation_token <> ''
               then encode(sha256(convert_to(regexp_replace(confirmation_token, '^pkce_', ''), 'UTF8')), 'hex') else '' end,
           recovery_token = case when recovery_token <> ''
               then encode(sha256(convert_to(regexp_replace(recovery_token, '^pkce_', ''), 'UTF8')), 'hex') else '' end,
           email_change_token_new = case when email_change_token_new <> ''
               then encode(sha256(convert_to(regexp_replace(email_change_token_new, '^pkce_', ''), 'UTF8')), 'hex') else '' end,
           email_change_token_current = case when email_change_token_current <> ''
               then encode(sha256(convert_to(regexp_replace(email_change_token_current, '^pkce_', ''), 'UTF8')), 'hex') else '' end,
           phone_change_token = case when phone_change_token <> ''
               then encode(sha256(convert_to(phone_change_token, 'UTF8')), 'hex') else '' end,
           reauthentication_token = case when reauthentication_token <> ''
               then encode(sha256(convert_to(reauthentication_token, 'UTF8')), 'hex') else '' end
     where '' <> any (array[confirmation_token, recovery_token, email_change_token_new, email_change_token_current,
               phone_change_token, reauthentication_token]);

    for v_trigger in
        select t.table_name, t.tgname, t.tgenabled
          from jsonb_to_recordset(v_triggers) as t (table_name text, tgname text, tgenabled text)
    loop
        execute format(
            'alter table %s enable %s trigger %I', v_trigger.table_name,
            case v_trigger.tgenabled when 'R' then 'replica' when 'A' then 'always' else '' end, v_trigger.tgname);
    end loop;
end
$$;

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

drop table auth.outbox;
drop type postern.envelope;

reset role;
