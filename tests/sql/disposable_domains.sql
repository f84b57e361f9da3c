-- auth.disposable_domains: addresses that open no account and become nobody's (issue 3, 5).
begin;
select plan(31);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', mailer_autoconfirm = true, external_anonymous_users_enabled = true, smtp_max_frequency = ''0''') \g /dev/null
select pg_temp.account('ada@good.example') as ada \gset
select pg_temp.account('old@trash.example') as old \gset
create function pg_temp.me(id uuid) returns postern.caller language sql as $$ select postern.caller(user_id => me.id) $$;
create function pg_temp.outcome(answer json) returns text language sql as $$
    select coalesce(answer #>> '{error,code}', 'done')
$$;
set local session authorization postern_gateway;

select throws_ok('select from auth.disposable_domains', '42501', null, 'the gateway cannot read the list');
select is(pg_temp.outcome(postern.sign_up(email => 'one@trash.example', password_hash => 'h')), 'done', 'empty: every domain may');
select pg_temp.run($$ insert into auth.disposable_domains values ('trash.example'), ('x.wide.example') $$) \g /dev/null
select throws_ok(format('select pg_temp.run(%L)', $$ insert into auth.disposable_domains values ('Trash.example') $$), '23514', null, 'domains are in lower case');
select throws_ok(format('select pg_temp.run(%L)', $$ insert into auth.disposable_domains values ('*.example') $$), '23514', null, 'and no patterns');

-- Sign-up
select is(postern.sign_up(email => 'Two@Trash.Example', password_hash => 'h') -> 'error' ->> 'message', 'Email address "two@trash.example" is invalid',
    'sign-up is refused, in the words of other addresses that cannot be');
select is(pg_temp.refused(postern.sign_up(email => 'two@a.b.trash.example', password_hash => 'h')),
    '400 email_address_invalid: Email address "two@a.b.trash.example" is invalid', 'with domains below it too');
select is(pg_temp.outcome(postern.sign_up(email => 'old@trash.example', password_hash => 'h')), 'email_address_invalid', 'a known address gets the same answer');
select is(pg_temp.outcome(postern.sign_up(email => 'two@notrash.example', password_hash => 'h')), 'done', 'a longer name is another domain');
select is(pg_temp.outcome(postern.sign_up(email => 'two@wide.example', password_hash => 'h')), 'done', 'and so is the domain above');
select is(pg_temp.outcome(postern.sign_up(email => 'trash.example@good.example', password_hash => 'h')), 'done', 'only the domain counts');

-- Codes and links
select is(pg_temp.outcome(postern.request_magic_link('three@trash.example')), 'email_address_invalid', 'no account by a code');
select is(pg_temp.outcome(postern.request_magic_link('three@trash.example', create_user => false)), 'otp_disabled', 'nor another answer where none is wanted');
select is(pg_temp.outcome(postern.request_magic_link('old@trash.example')), 'done', 'known accounts sign in by codes');
select is(pg_temp.outcome(postern.request_recovery('old@trash.example')), 'done', 'recover');
select is(pg_temp.outcome(postern.sign_in_with_password(
    user_id => :'old', provider => 'email', is_valid => true, compared_digest => pg_temp.digest())), 'done', 'and sign in with their password');

-- Changes of address
select is(pg_temp.outcome(postern.update_user(pg_temp.me(:'ada'), email => 'ada@trash.example')), 'email_address_invalid', 'nobody changes to one');
select is(pg_temp.outcome(postern.update_user(pg_temp.me(:'ada'), email => 'old@trash.example')), 'email_address_invalid', 'whether it is taken or not');
select is(pg_temp.outcome(postern.update_user(pg_temp.me(:'old'), email => 'OLD@trash.example')), 'done', 'to the present address is no change');
select is(pg_temp.outcome(postern.update_user(pg_temp.me(:'old'), email => 'new@good.example')), 'done', 'and away is welcome');
select (postern.sign_up_anonymously() #>> '{session,user_id}') as anonymous \gset
select is(pg_temp.outcome(postern.update_user(pg_temp.me(:'anonymous'), email => 'a@trash.example')), 'email_address_invalid', 'anonymous users neither');
select is(pg_temp.value(format('select is_anonymous from auth.users where id = %L', :'anonymous')), 'true', 'and stay what they are');
select is(pg_temp.outcome(postern.update_user(pg_temp.me(:'anonymous'), email => 'a@good.example')), 'done', 'other addresses make them permanent');

-- The hook is not asked about what is refused.
select pg_temp.set('hook_before_user_created_enabled = true, hook_before_user_created_uri = ''https://hook.example''') \g /dev/null
select is(pg_temp.outcome(postern.prepare_user(email => 'four@trash.example')), 'email_address_invalid', 'no hook is asked');
select is(postern.prepare_user(email => 'four@good.example') ->> 'uri', 'https://hook.example', 'but for others');
select isnt(postern.prepare_user(email => 'four@trash.example', is_invited => true, caller => postern.caller(role => 'service_role')) ->> 'user_id', null,
    'and about whom an administrator invites');
select pg_temp.set('hook_before_user_created_enabled = false') \g /dev/null

-- Administrators may.
select is(pg_temp.outcome(postern.admin_create_user(postern.caller(role => 'service_role'), email => 'admin1@trash.example')), 'done', 'an administrator creates any account');
select is(pg_temp.outcome(postern.admin_invite_user(postern.caller(role => 'service_role'), email => 'admin2@trash.example')), 'done', 'invites');
select is(pg_temp.outcome(postern.admin_generate_link(postern.caller(role => 'service_role'), type => 'magiclink', email => 'admin3@trash.example')), 'done', 'makes links');
select is(pg_temp.outcome(postern.admin_update_user(postern.caller(role => 'service_role'), user_id => :'ada', email => 'ada@trash.example')), 'done', 'and changes addresses');

select is(pg_temp.value($$ select count(*) from auth.users where email ~ '[@.]trash.example$' and email !~ '^admin' $$), '3', 'nobody else got one');
select pg_temp.run('delete from auth.disposable_domains') \g /dev/null
select is(pg_temp.outcome(postern.sign_up(email => 'five@trash.example', password_hash => 'h')), 'done', 'empty again: every domain may');

select * from finish();
rollback;
