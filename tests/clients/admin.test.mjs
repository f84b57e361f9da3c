// auth.admin: what an application's server does with the service_role key.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newEmail, ok, password, start } from './postern.mjs'

let gate, admin
before(async () => {
  gate = await start()
  admin = gate.admin()
})
after(() => gate?.stop())

const unknown = '00000000-0000-4000-8000-000000000000'

describe('createUser', () => {
  it('makes an account that can sign in', async () => {
    const email = newEmail()
    const { user } = ok(
      await admin.createUser({
        email, password, email_confirm: true, user_metadata: { name: 'Ada' }, app_metadata: { tenant: 'north' },
      }),
    )
    assert.equal(user.app_metadata.tenant, 'north')
    const session = ok(await gate.client().auth.signInWithPassword({ email, password }))
    assert.equal(session.user.id, user.id)
    assert.equal(session.user.user_metadata.name, 'Ada')
  })

  it('takes a password hash that another system made', async () => {
    const email = newEmail()
    const password_hash = '$2a$10$VPD129x2k2NBCnwOtOhoQu.7ZMCAfaFCUlsgZpuuaM62CeAX4qRHK'
    ok(await admin.createUser({ email, password_hash, email_confirm: true }))
    ok(await gate.client().auth.signInWithPassword({ email, password }))
  })

  it('says email_exists for an address that is taken', async () => {
    const email = newEmail()
    ok(await admin.createUser({ email, password }))
    const { error } = await admin.createUser({ email, password })
    assert.equal(error.code, 'email_exists')
    assert.equal(error.status, 422)
  })

  it('leaves an account unconfirmed when asked to', async () => {
    const email = newEmail()
    const { user } = ok(await admin.createUser({ email, password, email_confirm: false }))
    assert.equal(user.email_confirmed_at, undefined)
    const { error } = await gate.client().auth.signInWithPassword({ email, password })
    assert.equal(error.code, 'email_not_confirmed')
  })
})

describe('reading', () => {
  it('getUserById', async () => {
    const email = newEmail()
    const { user } = ok(await admin.createUser({ email, password }))
    assert.equal(ok(await admin.getUserById(user.id)).user.email, email)
    const { error } = await admin.getUserById(unknown)
    assert.equal(error.code, 'user_not_found')
    assert.equal(error.status, 404)
  })

  it('listUsers, page by page', async () => {
    for (let i = 0; i < 3; i++) ok(await admin.createUser({ email: newEmail() }))
    const total = Number(await gate.sql('select count(*) from auth.users'))
    const first = ok(await admin.listUsers({ page: 1, perPage: 2 }))
    assert.equal(first.users.length, 2)
    assert.equal(first.total, total)
    assert.equal(first.nextPage, 2)
    assert.equal(first.lastPage, Math.ceil(total / 2))
    const seen = new Set()
    for (let page = 1; page <= first.lastPage; page++) {
      for (const user of ok(await admin.listUsers({ page, perPage: 2 })).users) seen.add(user.id)
    }
    assert.equal(seen.size, total)
  })
})

describe('updateUserById', () => {
  it('changes address, password and both kinds of metadata', async () => {
    const { user } = ok(await admin.createUser({ email: newEmail(), password, email_confirm: true }))
    const email = newEmail()
    const changed = ok(
      await admin.updateUserById(user.id, {
        email, password: 'quite another one', user_metadata: { name: 'B' }, app_metadata: { role: 'editor' }, email_confirm: true,
      }),
    ).user
    assert.equal(changed.email, email)
    assert.equal(changed.app_metadata.role, 'editor')
    const client = gate.client()
    ok(await client.auth.signInWithPassword({ email, password: 'quite another one' }))
    assert.equal(ok(await client.auth.getClaims()).claims.app_metadata.role, 'editor')
  })

  it('a ban ends refreshing', async () => {
    const client = gate.client()
    const { user } = ok(await client.auth.signUp({ email: newEmail(), password }))
    assert.ok(ok(await admin.updateUserById(user.id, { ban_duration: '1h' })).user.banned_until)
    assert.equal((await client.auth.refreshSession()).error.code, 'user_banned')
  })

  it('says user_not_found', async () => {
    assert.equal((await admin.updateUserById(unknown, { password })).error.code, 'user_not_found')
  })
})

describe('deleteUser', () => {
  it('removes the account and its sessions', async () => {
    const email = newEmail()
    const client = gate.client()
    const { user } = ok(await client.auth.signUp({ email, password }))
    ok(await admin.deleteUser(user.id))
    assert.equal(await gate.sql(`select count(*) from auth.users where id = :'id'`, { id: user.id }), '0')
    const { session } = ok(await client.auth.getSession())
    assert.equal((await client.auth.getUser(session.access_token)).error.code, 'user_not_found')
    assert.equal((await client.auth.refreshSession()).error.code, 'refresh_token_not_found')
    ok(await gate.client().auth.signUp({ email, password })) // the address is free again
  })

  it('softly keeps the row without what it said of the person', async () => {
    const email = newEmail()
    const { user } = ok(await gate.client().auth.signUp({ email, password }))
    ok(await admin.deleteUser(user.id, true))
    const row = await gate.sql(
      `select deleted_at is not null, email = :'email', coalesce(encrypted_password, '') = '' from auth.users where id = :'id'`,
      { id: user.id, email },
    )
    assert.equal(row, 't|f|t')
    assert.equal((await gate.client().auth.signInWithPassword({ email, password })).error.code, 'invalid_credentials')
    ok(await gate.client().auth.signUp({ email, password }))
  })

  it('says user_not_found', async () => {
    assert.equal((await admin.deleteUser(unknown)).error.code, 'user_not_found')
  })
})

describe('signOut', () => {
  it('ends the sessions of the user whose token it is given', async () => {
    const client = gate.client()
    const { session } = ok(await client.auth.signUp({ email: newEmail(), password }))
    assert.equal((await admin.signOut(session.access_token)).error, null)
    assert.equal((await client.auth.refreshSession()).error.code, 'refresh_token_not_found')
  })
})

it('is refused without the service_role key', async () => {
  const client = gate.client()
  const anonymous = await client.auth.admin.listUsers()
  assert.equal(anonymous.error.code, 'not_admin')
  assert.equal(anonymous.error.status, 403)
  const { session } = ok(await client.auth.signUp({ email: newEmail(), password }))
  const response = await fetch(`${gate.url}/admin/users`, { headers: { authorization: `Bearer ${session.access_token}` } })
  assert.equal(response.status, 403)
  assert.equal(response.headers.get('x-sb-error-code'), 'not_admin')
})
