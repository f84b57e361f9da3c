// The pages of docs/, executed.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { blocks, folder, keeps, Reader, repository } from './documents.mjs'
import { asPostgREST, claimsOf, databaseURL, emptyDatabase, ok, sql, start } from './postern.mjs'

let place
before(async () => {
  place = await folder()
})
after(() => place?.remove())

describe('docs/policies.md', () => {
  let gate
  before(async () => {
    gate = await start()
  })
  after(async () => {
    await gate?.stop()
    await sql(databaseURL('postgres'), 'drop role if exists tester')
  })

  it('does what it says', async () => {
    await keeps(new Reader(place.path, { DATABASE_URL: gate.databaseURL }), await blocks('docs/policies.md'))
    const name = await gate.sql(`
      set session authorization tester;
      begin; select postern.impersonate('bob@example.com') \\g /dev/null
      select name from public.profiles where id = auth.uid(); rollback;`)
    assert.equal(name, 'Bob')
  })

  it('makes accounts that sign in, with the claims of the page, and policies that hold for their tokens', async () => {
    const signIn = async (email, password) => ok(await gate.client().auth.signInWithPassword({ email, password })).session
    const ada = await signIn('ada@example.com', 'correct horse')
    const bob = await signIn('bob@example.com', 'another horse')
    assert.equal(claimsOf(ada.access_token, gate.secret).app_name, 'news')
    const articles = (session) => asPostgREST(gate, session.access_token, 'select body from articles')
    assert.equal(await articles(ada), 'News of the north')
    assert.equal(await articles(bob), '')
    await assert.rejects(
      asPostgREST(gate, bob.access_token, `insert into articles (tenant, body) values ('north', 'x')`), /row-level security/,
    )
    assert.equal(
      await asPostgREST(gate, bob.access_token, `update profiles set name = name || '!' returning name`), 'Bob!',
    )
  })

  it('lists the claims of an access token', async () => {
    const { session } = ok(await gate.client().auth.signInAnonymously())
    const page = await readFile(join(repository, 'docs/policies.md'), 'utf8')
    for (const claim of Object.keys(claimsOf(session.access_token, gate.secret))) {
      assert.ok(page.includes(`\`${claim}\``) || claim === 'app_name', claim)
    }
  })
})

describe('docs/hooks.md', () => {
  let gate
  before(async () => {
    gate = await start({ GOTRUE_MAILER_AUTOCONFIRM: 'false' })
  })
  after(() => gate?.stop())

  it('has a function send mails, whose codes sign in', async () => {
    await keeps(new Reader(place.path, { DATABASE_URL: gate.databaseURL }), await blocks('docs/hooks.md'))
    const email = 'ada@example.com'
    ok(await gate.client().auth.signInWithOtp({ email }))
    const token = await gate.sql(`select code from app.mails where recipient = '${email}' and kind = 'signup'`)
    assert.ok(ok(await gate.client().auth.verifyOtp({ email, token, type: 'signup' })).session)
  })
})

describe('docs/operations.md', () => {
  it('does what it says', async () => {
    const database = await emptyDatabase()
    const reader = new Reader(place.path, {
      DATABASE_URL: databaseURL(database.name),
      GATEWAY_URL: databaseURL(database.name, 'postern_gateway'),
    })
    try {
      await keeps(reader, await blocks('docs/operations.md'))
      const lines = (await readFile(join(place.path, 'gateway.env'), 'utf8')).trim().split('\n')
      const { GOTRUE_JWT_SECRET, GOTRUE_JWT_KEYS, POSTERN_TOKEN_KEYS } = Object.fromEntries(
        lines.map((line) => line.split(/=(.*)/s)),
      )
      assert.equal(JSON.parse(GOTRUE_JWT_KEYS.slice(1, -1)).length, 2, 'the key pair, and the secret to verify with')
      assert.equal(POSTERN_TOKEN_KEYS.split(',')[1], GOTRUE_JWT_SECRET)
      assert.ok(Number(await readFile(join(place.path, 'functions.txt'), 'utf8')) > 20)
    } finally {
      await database.drop()
      await sql(databaseURL('postgres'), 'drop role if exists app_owner')
    }
  })
})

const dump = join(repository, '../shared/fixtures/supabase-auth-2.196.sql')

describe('docs/adoption.md', { skip: !existsSync(dump) && 'no database of Supabase Auth beside this checkout' }, () => {
  let database, fixture, reader
  before(async () => {
    fixture = JSON.parse(await readFile(dump.replace(/sql$/, 'json'), 'utf8'))
    database = await emptyDatabase()
    // Roles are the cluster's: another test may have made them.
    for (const [role, attributes] of Object.entries({
      supabase_admin: 'login createrole createdb replication bypassrls',
      supabase_auth_admin: 'noinherit createrole login',
      anon: 'nologin', authenticated: 'nologin', service_role: 'nologin bypassrls',
    })) {
      await sql(databaseURL('postgres'), `
        do $$ begin create role ${role} ${attributes};
        exception when duplicate_object or unique_violation then null; end $$`)
    }
    await sql(databaseURL(database.name), await readFile(dump, 'utf8'))
    reader = new Reader(place.path, {
      DATABASE_URL: databaseURL(database.name),
      PORT: '8097', API_EXTERNAL_URL: 'http://127.0.0.1:8097', GOTRUE_SITE_URL: 'http://localhost:3000',
      GOTRUE_JWT_SECRET: fixture.jwt_secret, GOTRUE_JWT_AUD: 'authenticated', GOTRUE_JWT_DEFAULT_GROUP_NAME: 'authenticated',
      GOTRUE_MAILER_AUTOCONFIRM: 'true',
    })
  })
  after(async () => {
    await reader?.close()
    await database?.drop()
  })

  const count = (table) => sql(databaseURL(database.name), `select count(*) from auth.${table}`)
  const ask = (path, body) =>
    fetch(`http://127.0.0.1:8097${path}`, { method: 'POST', body: JSON.stringify(body) }).then((answer) => answer.json())

  it('there: who is known signs in, and who holds a refresh token goes on', async () => {
    const users = await count('users')
    await reader.read(await blocks('docs/adoption.md', 'There'))
    const { email, password, refresh_token } = fixture.accounts[0]
    assert.ok((await ask('/token?grant_type=password', { email, password })).access_token)
    assert.ok((await ask('/token?grant_type=refresh_token', { refresh_token })).access_token)
    assert.ok((await ask('/signup', { email: 'new@example.com', password: 'correct horse' })).access_token)
    assert.equal(await count('users'), String(Number(users) + 1))
  })

  it('and back: every row stays, and sessions carry what Supabase Auth needs', async () => {
    const [users, sessions] = [await count('users'), await count('sessions')]
    await reader.stop() // all gateways
    const printed = await reader.read(await blocks('docs/adoption.md', 'And back'))
    assert.match(printed[0][1], /sessions can be continued by Supabase Auth/)
    assert.deepEqual([await count('users'), await count('sessions')], [users, sessions])
    const left = await sql(databaseURL(database.name), `select to_regnamespace('postern') is null and to_regclass('auth.settings') is null`)
    assert.equal(left, 't')
    const keyed = await sql(databaseURL(database.name), `
      select bool_and(s.refresh_token_hmac_key is not null)
      from auth.sessions s join auth.users u on u.id = s.user_id where u.email = 'new@example.com'`)
    assert.equal(keyed, 't')
  })
})
