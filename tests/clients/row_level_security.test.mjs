// The point of it all: a policy written with auth.uid() shows each user their own rows and nobody else's, for tokens that
// supabase-js got from the gateway. PostgREST cannot be had from npm, so asPostgREST does in psql what it does.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { asPostgREST, newEmail, ok, password, start } from './postern.mjs'

let gate, ada, bob
before(async () => {
  gate = await start()
  await gate.sql(`
    create table public.notes (
        id bigint generated always as identity primary key,
        user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
        body text not null
    );
    alter table public.notes enable row level security;
    create policy "own notes" on public.notes using (auth.uid() = user_id) with check (auth.uid() = user_id);
    grant select, insert, update, delete on public.notes to anon, authenticated, service_role;
  `)
  ada = await signUp('Ada')
  bob = await signUp('Bob')
  await asPostgREST(gate, ada.token, `insert into notes (body) values ('of Ada')`)
  await asPostgREST(gate, bob.token, `insert into notes (body) values ('of Bob')`)
})
after(() => gate?.stop())

async function signUp(name) {
  const { user, session } = ok(
    await gate.client().auth.signUp({ email: newEmail(), password, options: { data: { name } } }),
  )
  return { id: user.id, token: session.access_token }
}

const bodies = (token) => asPostgREST(gate, token, 'select body from notes order by id')

describe('a policy on auth.uid() = user_id', () => {
  it('shows each user their own rows', async () => {
    assert.equal(await bodies(ada.token), 'of Ada')
    assert.equal(await bodies(bob.token), 'of Bob')
  })

  it('shows nothing without a token', async () => {
    assert.equal(await bodies(null), '')
  })

  it('shows an anonymous user their own rows', async () => {
    const { session } = ok(await gate.client().auth.signInAnonymously())
    assert.equal(await bodies(session.access_token), '')
    await asPostgREST(gate, session.access_token, `insert into notes (body) values ('of nobody in particular')`)
    assert.equal(await bodies(session.access_token), 'of nobody in particular')
  })

  it('lets nobody change, delete or plant rows of somebody else', async () => {
    await asPostgREST(gate, bob.token, `update notes set body = 'mine now'; delete from notes where body = 'of Ada'`)
    assert.equal(await bodies(ada.token), 'of Ada')
    await asPostgREST(gate, bob.token, `update notes set body = 'of Bob'`)
    await assert.rejects(
      asPostgREST(gate, bob.token, `insert into notes (user_id, body) values ('${ada.id}', 'planted')`),
      /row-level security/,
    )
  })

  it('shows everything to service_role', async () => {
    const rows = (await bodies(gate.serviceKey)).split('\n')
    assert.ok(rows.includes('of Ada') && rows.includes('of Bob'))
  })

  it('holds for a refreshed token', async () => {
    const client = gate.client()
    const email = newEmail()
    ok(await client.auth.signUp({ email, password }))
    const { session } = ok(await client.auth.refreshSession())
    await asPostgREST(gate, session.access_token, `insert into notes (body) values ('after a refresh')`)
    assert.equal(await bodies(session.access_token), 'after a refresh')
  })

  it('loses its rows with the account', async () => {
    const { id, token } = await signUp('Cleo')
    await asPostgREST(gate, token, `insert into notes (body) values ('of Cleo')`)
    ok(await gate.admin().deleteUser(id))
    assert.equal(await gate.sql(`select count(*) from notes where user_id = :'id'`, { id }), '0')
  })
})

describe('the other claims', () => {
  it('auth.role(), auth.email() and auth.jwt() say what the token says', async () => {
    const row = await asPostgREST(
      gate, ada.token, `select auth.role(), auth.uid(), auth.jwt() -> 'user_metadata' ->> 'name', auth.email() is not null`,
    )
    assert.equal(row, `authenticated|${ada.id}|Ada|t`)
    assert.equal(await asPostgREST(gate, null, 'select auth.role(), auth.uid() is null'), 'anon|t')
  })

  it('a policy on app_metadata follows what an administrator sets, from the next token on', async () => {
    await gate.sql(`
      create table public.reports (body text);
      insert into public.reports values ('secret');
      alter table public.reports enable row level security;
      create policy editors on public.reports using (auth.jwt() -> 'app_metadata' ->> 'role' = 'editor');
      grant select on public.reports to authenticated;
    `)
    const client = gate.client()
    const { user, session } = ok(await client.auth.signUp({ email: newEmail(), password }))
    const read = (token) => asPostgREST(gate, token, 'select body from reports')
    assert.equal(await read(session.access_token), '')
    ok(await client.auth.updateUser({ data: { role: 'editor' } })) // users' own metadata decides nothing
    assert.equal(await read(ok(await client.auth.refreshSession()).session.access_token), '')
    ok(await gate.admin().updateUserById(user.id, { app_metadata: { role: 'editor' } }))
    assert.equal(await read(ok(await client.auth.refreshSession()).session.access_token), 'secret')
  })

  it('postern.impersonate sees what the token sees', async () => {
    const rows = await gate.sql(
      `begin; select postern.impersonate(:'id') \\g /dev/null
       select body from notes; rollback;`, { id: ada.id },
    )
    assert.equal(rows, await bodies(ada.token))
  })
})

it('tables of schema auth are closed to the roles of the API', async () => {
  for (const token of [null, ada.token, gate.serviceKey]) {
    await assert.rejects(asPostgREST(gate, token, 'select * from auth.users'), /permission denied/)
  }
})

it('a trigger that raises undoes the sign-up, and the client gets its message', async () => {
  await gate.sql(`
    create function public.only_friends() returns trigger language plpgsql as $$
    begin
        if new.email like '%@enemies.example' then raise exception 'friends only'; end if;
        return new;
    end $$;
    create trigger only_friends before insert on auth.users for each row execute function public.only_friends();
  `)
  const { error } = await gate.client().auth.signUp({ email: 'x@enemies.example', password })
  assert.ok(error)
  assert.match(error.message, /friends only|Database error saving new user/)
  assert.equal(await gate.sql(`select count(*) from auth.users where email = 'x@enemies.example'`), '0')
})
