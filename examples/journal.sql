-- A journal that its writers may share. Run it with psql; run it again to begin anew.
\set ON_ERROR_STOP on
begin;

drop table if exists public.journal;
create table public.journal (
    id bigint generated always as identity primary key,
    author uuid not null default auth.uid() references auth.users (id) on delete cascade,
    is_public boolean not null default false,
    body text not null,
    written_at timestamptz not null default now()
);
create index on public.journal (author, written_at desc);

alter table public.journal enable row level security;
grant select on public.journal to anon;
grant select, insert, update, delete on public.journal to authenticated;

create policy "everybody reads what is public" on public.journal
for select using (is_public);

create policy "writers do as they like with their own" on public.journal
using (auth.uid() = author)
with check (auth.uid() = author);

create policy "anonymous users publish nothing" on public.journal as restrictive
for insert with check (not is_public or not (auth.jwt() ->> 'is_anonymous')::boolean);

commit;

-- Two people, unless an earlier run or journal.mjs made them.
select postern.create_user(email => e.email)
from (values ('grace@example.com'), ('linus@example.com')) e (email)
where not exists (select from auth.users u where u.email = e.email) \g /dev/null

\echo Grace writes:
begin;
select postern.impersonate('grace@example.com') \g /dev/null
insert into public.journal (is_public, body)
values (true, 'A bug in the relay'), (false, 'It was a moth');
select body from public.journal order by id;
commit;

\echo Linus reads:
begin;
select postern.impersonate('linus@example.com') \g /dev/null
select body from public.journal order by id;
rollback;

\echo Everybody reads:
begin;
select postern.anonymous() \g /dev/null
select body from public.journal order by id;
rollback;
