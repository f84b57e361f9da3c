-- The examples of the README: tables of a user's own, their policies, and the trigger that fills them; tried by hand with
-- postern.impersonate and postern.anonymous.
begin;
select plan(51);
\ir support.psql

-- An application's schema, as its developer would write it.
create table public.profiles (
    id uuid primary key references auth.users (id) on delete cascade,
    email text,
    full_name text
);
alter table public.profiles enable row level security;
grant select, insert, update on public.profiles to authenticated;
grant select on public.profiles to anon, service_role;
create policy "own profile" on public.profiles for select to authenticated using (auth.uid() = id);
create policy "change own profile" on public.profiles for update to authenticated
    using ((select auth.uid()) = id) with check ((select auth.uid()) = id);

create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    insert into public.profiles (id, email, full_name) values (new.id, new.email, new.raw_user_meta_data ->> 'full_name');
    return new;
end
$$;
create trigger on_auth_user_created after insert on auth.users for each row execute function public.handle_new_user();

create table public.notes (
    id bigint generated always as identity primary key,
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    body text
);
alter table public.notes enable row level security;
grant select, insert, delete on public.notes to authenticated;
create policy "own notes" on public.notes using (auth.uid() = user_id) with check (auth.uid() = user_id);
create policy "editors read all" on public.notes for select
    using (auth.jwt() -> 'app_metadata' ->> 'role' = 'editor');

create table public.news (id int primary key, body text);
insert into public.news values (1, 'hello');
alter table public.news enable row level security;
grant select on public.news to anon, authenticated;
create policy "for members" on public.news for select using (auth.role() = 'authenticated');

create table public.orders (id int primary key, tenant text not null, body text);
insert into public.orders values (1, 'acme', 'anvil'), (2, 'acme', 'rocket'), (3, 'globex', 'laser');
alter table public.orders enable row level security;
grant select on public.orders to authenticated;
create policy "own tenant" on public.orders for select
    using (tenant = (select auth.jwt() -> 'app_metadata' ->> 'tenant'));

-- Accounts of every kind, made through the gateway's functions.
select pg_temp.set('mailer_autoconfirm = true, external_anonymous_users_enabled = true, jwt_aud = ''authenticated'', '
    || 'jwt_default_group_name = ''authenticated''') \g /dev/null
set local session authorization postern_gateway;
select postern.sign_up(email => 'Ada@Example.com', password_hash => pg_temp.hash(), data => '{"full_name": "Ada L"}')
    #>> '{user,id}' as ada \gset
select postern.sign_up(email => 'bob@example.com', password_hash => pg_temp.hash()) #>> '{user,id}' as bob \gset
select postern.sign_up_anonymously() #>> '{user,id}' as nobody \gset
reset session authorization;
select pg_temp.account('eve@example.com', app_metadata => '{"role": "editor", "tenant": "acme"}') as eve \gset

select results_eq(
    'select email, full_name from public.profiles where email is not null order by 1',
    $$ values ('ada@example.com', 'Ada L'), ('bob@example.com', null), ('eve@example.com', null) $$,
    'handle_new_user made a profile for each account that signed up or was seeded');
select is((select count(*)::int from public.profiles where email is null), 1, 'and for the anonymous one');

-- Ada
select postern.impersonate('ada@example.com') #>> '{sub}' as sub \gset
select is(:'sub'::text, :'ada', 'postern.impersonate answers with the claims');
select is(current_user::text, 'authenticated', 'and takes the account''s role');
select is(auth.uid()::text, :'ada', 'auth.uid() is the account''s id');
select is(auth.email(), 'ada@example.com', 'auth.email() its address');
select is(auth.role(), 'authenticated', 'auth.role() its role');
select results_eq('select email from public.profiles', $$ values ('ada@example.com') $$, 'Ada sees her profile and nobody else''s');
select is_empty(format('update public.profiles set full_name = ''x'' where id = %L returning id', :'bob'),
    'and changes nobody else''s');
select results_eq(format('update public.profiles set full_name = ''Ada''
        where id = %L returning full_name', :'ada'),
    $$ values ('Ada') $$, 'but her own');
select throws_ok(format('update public.profiles set id = %L where id = %L', :'bob', :'ada'), '42501', null,
    'and cannot become another');
select lives_ok($$ insert into public.notes (body) values ('of Ada') $$, 'a default of auth.uid() fills the column');
select throws_ok(format($$ insert into public.notes (user_id, body) values (%L, 'forged') $$, :'bob'), '42501', null,
    'a note in another''s name is refused');
select results_eq('select body from public.notes', $$ values ('of Ada') $$, 'she sees her notes');
select is((select count(*)::int from public.news), 1, 'news for members are for her');
select is((select count(*)::int from public.orders), 0, 'she has no tenant, so no orders');
reset role;

-- Bob, by id.
select postern.impersonate(:'bob'::uuid) \g /dev/null
select results_eq('select email from public.profiles', $$ values ('bob@example.com') $$, 'Bob, taken by his id, sees his profile');
select is_empty('select * from public.notes', 'and none of Ada''s notes');
select is_empty('delete from public.notes returning id', 'and deletes none');
reset role;

-- Eve, editor of acme.
select postern.impersonate('EVE@example.com') \g /dev/null
select results_eq('select body from public.notes', $$ values ('of Ada') $$, 'an editor by app_metadata reads all notes');
select is_empty('delete from public.notes returning id', 'but deletes only her own');
select results_eq('select id from public.orders order by id', 'values (1), (2)', 'the tenant policy shows acme''s orders');
reset role;
select pg_temp.run(format($$update auth.users set raw_app_meta_data = '{"tenant": "globex"}' where id = %L$$, :'eve')) \g /dev/null
select postern.impersonate(:'eve'::text) \g /dev/null
select results_eq('select id from public.orders', 'values (3)', 'the other tenant''s when app_metadata says so');
select is_empty('select body from public.notes', 'and no longer an editor');
reset role;
-- user_metadata is the user's own to write: it must not be mistaken for app_metadata.
select pg_temp.run(format($$update auth.users set raw_user_meta_data = '{"role": "editor", "tenant": "acme"}',
    raw_app_meta_data = null where id = %L$$, :'eve')) \g /dev/null
select postern.impersonate('eve@example.com') \g /dev/null
select is((select count(*)::int from public.orders), 0, 'what users write into user_metadata opens nothing');
select is(auth.jwt() -> 'app_metadata', '{}', 'metadata that is null counts as empty');
reset role;

-- The anonymous account, and nobody at all.
select postern.impersonate(:'nobody'::uuid) \g /dev/null
select is(auth.jwt() ->> 'is_anonymous', 'true', 'an anonymous account is told apart by is_anonymous');
select is((select count(*)::int from public.profiles), 1, 'and sees its own row');
reset role;

select is(postern.anonymous()::jsonb, '{"role": "anon"}'::jsonb,
    'postern.anonymous answers with the claims of the anon key');
select is(current_user::text, 'anon', 'and takes the role anon');
select is(auth.uid(), null, 'without a user');
select is_empty('select * from public.profiles', 'who sees no profile');
select is_empty('select * from public.news', 'and no news for members');
select throws_ok('select * from public.notes', '42501', null, 'and may not ask for notes');
reset role;

-- What somebody tried by hand before, in the settings of older PostgREST, does not shine through.
set "request.jwt.claim" = '{"sub": "00000000-0000-0000-0000-00000000abcd"}';
set "request.jwt.claim.sub" = '00000000-0000-0000-0000-00000000abcd';
set "request.jwt.claim.role" = 'service_role';
set "request.jwt.claim.email" = 'who@example.com';
select postern.impersonate('ada@example.com') \g /dev/null
select is(format('%s %s %s', auth.uid(), auth.role(), auth.email()), :'ada' || ' authenticated ada@example.com',
    'impersonate replaces claims of before');
select is(auth.jwt() ->> 'sub', :'ada', 'all of them');
reset role;
set "request.jwt.claim.sub" = '00000000-0000-0000-0000-00000000abcd';
set "request.jwt.claim.role" = 'service_role';
select postern.anonymous() \g /dev/null
select is(auth.uid(), null, 'so does anonymous');
select is(auth.role(), 'anon', 'which is nobody');
reset role;

-- What impersonate refuses.
select throws_ok($$ select postern.impersonate('who@example.com') $$, 'P0001',
    'no account has the address or id who@example.com',
    'an unknown address is an error');
select throws_ok($$ select postern.impersonate('00000000-0000-0000-0000-00000000abcd'::uuid) $$, 'P0001',
    null, 'so is an unknown id');
select pg_temp.run(format('update auth.users set role = '''' where id = %L', :'bob')) \g /dev/null
select throws_ok($$ select postern.impersonate('bob@example.com') $$, 'P0001',
    'the account bob@example.com has no role',
    'and an account without a role');
select pg_temp.run(format('update auth.users set role = ''no_such_role'' where id = %L', :'bob')) \g /dev/null
select throws_ok($$ select postern.impersonate('bob@example.com') $$, '22023', null,
    'and one with a role that is not there');
select is(current_user::text, session_user::text, 'an error leaves the role as it was');

-- The claims are those that the gateway signs.
select pg_temp.run(format('update auth.users set role = ''authenticated'' where id = %L',
    :'bob')) \g /dev/null
select postern.sign_in_with_password(
    user_id => :'bob', provider => 'email', is_valid => true,
    compared_digest => pg_temp.digest()) -> 'claims' as signed \gset
select is(
    postern.impersonate('bob@example.com')::jsonb, :'signed'::jsonb - array['session_id', 'amr'],
    'impersonation has the claims of a token that the gateway signs, but for the session');
reset role;

-- Deleting an account takes its rows along.
select postern.delete_user(:'ada') \g /dev/null
select is_empty(format('select id from public.profiles where id = %L', :'ada'),
    'deleting an account deletes its profile');
select is_empty('select id from public.notes', 'and its notes');

-- A developer who is no superuser, with the rights he needs for that.
create role developer in role authenticated, anon;
grant usage on schema postern to developer;
set local session authorization developer;
select throws_ok($$ select postern.impersonate('bob@example.com') $$, '42501', null,
    'impersonation is not for everybody');
reset session authorization;
grant execute on function postern.impersonate(text), postern.anonymous(),
    postern._impersonation_claims(text) to developer;
set local session authorization developer;
select lives_ok($$ select postern.impersonate('bob@example.com') $$, 'a grant of the owner''s opens it');
select is(current_user::text, 'authenticated', 'and it works without a superuser');
reset role;
select lives_ok('select postern.anonymous()', 'so does anonymous');
reset role;
select pg_temp.run(format('update auth.users set role = ''service_role'' where id = %L', :'bob')) \g /dev/null
select throws_ok($$ select postern.impersonate('bob@example.com') $$, '42501', null,
    'but not into a role that he may not take');
reset session authorization;

select * from finish();
rollback;
