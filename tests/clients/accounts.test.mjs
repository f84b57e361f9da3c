// What an application does with supabase-js: sign up, sign in, change the account, sign out.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newEmail, ok, password, start } from './postern.mjs'

let gate
before(async () => {
  gate = await start()
})
after(() => gate?.stop())

describe('sign-up', () => {
  it('opens a session at once where accounts need no confirmation', async () => {
    const email = newEmail()
    const { user, session } = ok(
      await gate.client().auth.signUp({ email, password, options: { data: { name: 'Ada' } } }),
    )
    assert.equal(user.email, email)
    assert.equal(user.user_metadata.name, 'Ada')
    assert.equal(user.role, 'authenticated')
    assert.equal(user.identities.length, 1)
    assert.equal(session.token_type, 'bearer')
    assert.equal(session.user.id, user.id)
    assert.equal(await gate.sql(`select email from auth.users where id = :'id'`, { id: user.id }), email)
  })

  it('says user_already_exists for an address that is taken', async () => {
    const email = newEmail()
    ok(await gate.client().auth.signUp({ email, password }))
    const { data, error } = await gate.client().auth.signUp({ email, password: 'another password' })
    assert.equal(error.code, 'user_already_exists')
    assert.equal(error.status, 422)
    assert.equal(data.session, null)
  })

  it('says validation_failed for what is no address', async () => {
    const { error } = await gate.client().auth.signUp({ email: 'nobody', password })
    assert.equal(error.code, 'validation_failed')
    assert.equal(error.status, 400)
  })

  it('says weak_password with its reasons', async () => {
    const { error } = await gate.client().auth.signUp({ email: newEmail(), password: 'abc' })
    assert.equal(error.name, 'AuthWeakPasswordError')
    assert.equal(error.code, 'weak_password')
    assert.deepEqual(error.reasons, ['length'])
  })

  it('says validation_failed for a password that bcrypt would cut', async () => {
    const { error } = await gate.client().auth.signUp({ email: newEmail(), password: 'x'.repeat(73) })
    assert.equal(error.code, 'validation_failed')
    assert.match(error.message, /72 characters/)
  })
})

describe('sign-in', () => {
  it('works with the password, whatever the case of the address', async () => {
    const email = newEmail()
    const created = ok(await gate.client().auth.signUp({ email, password }))
    const client = gate.client()
    const { user } = ok(await client.auth.signInWithPassword({ email: email.toUpperCase(), password }))
    assert.equal(user.id, created.user.id)
    assert.equal(ok(await client.auth.getSession()).session.user.id, user.id)
    assert.equal(ok(await client.auth.getUser()).user.email, email)
  })

  it('says invalid_credentials for a wrong password and for an unknown address alike', async () => {
    const email = newEmail()
    ok(await gate.client().auth.signUp({ email, password }))
    for (const attempt of [{ email, password: 'wrong' }, { email: newEmail(), password }]) {
      const { data, error } = await gate.client().auth.signInWithPassword(attempt)
      assert.equal(error.code, 'invalid_credentials')
      assert.equal(error.status, 400)
      assert.equal(error.message, 'Invalid login credentials')
      assert.equal(data.session, null)
    }
  })

  it('says user_banned to the banned, until the ban is lifted', async () => {
    const email = newEmail()
    const { user } = ok(await gate.client().auth.signUp({ email, password }))
    ok(await gate.admin().updateUserById(user.id, { ban_duration: '24h' }))
    const { error } = await gate.client().auth.signInWithPassword({ email, password })
    assert.equal(error.code, 'user_banned')
    ok(await gate.admin().updateUserById(user.id, { ban_duration: 'none' }))
    ok(await gate.client().auth.signInWithPassword({ email, password }))
  })
})

describe('updateUser', () => {
  it('changes metadata', async () => {
    const client = gate.client()
    ok(await client.auth.signUp({ email: newEmail(), password, options: { data: { name: 'Ada', age: 36 } } }))
    const { user } = ok(await client.auth.updateUser({ data: { name: 'Countess', age: null } }))
    assert.equal(user.user_metadata.name, 'Countess')
    assert.ok(!('age' in user.user_metadata), 'null removes a key')
    assert.equal(ok(await client.auth.getUser()).user.user_metadata.name, 'Countess')
  })

  it('changes the password and ends the other sessions', async () => {
    const email = newEmail()
    const here = gate.client()
    const there = gate.client()
    ok(await here.auth.signUp({ email, password }))
    ok(await there.auth.signInWithPassword({ email, password }))
    ok(await here.auth.updateUser({ password: 'quite another one' }))
    ok(await here.auth.getUser())
    assert.equal((await there.auth.refreshSession()).error.code, 'refresh_token_not_found')
    assert.equal((await gate.client().auth.signInWithPassword({ email, password })).error.code, 'invalid_credentials')
    ok(await gate.client().auth.signInWithPassword({ email, password: 'quite another one' }))
  })

  it('says same_password and weak_password', async () => {
    const client = gate.client()
    ok(await client.auth.signUp({ email: newEmail(), password }))
    const same = (await client.auth.updateUser({ password })).error
    assert.equal(same.code, 'same_password')
    assert.equal(same.status, 422)
    const weak = (await client.auth.updateUser({ password: 'abc' })).error
    assert.equal(weak.code, 'weak_password')
    assert.deepEqual(weak.reasons, ['length'])
  })
})

describe('anonymous users', () => {
  it('sign in without anything, and say so in their token', async () => {
    const client = gate.client()
    const { user } = ok(await client.auth.signInAnonymously({ options: { data: { theme: 'dark' } } }))
    assert.equal(user.is_anonymous, true)
    assert.equal(user.user_metadata.theme, 'dark')
    const { claims } = ok(await client.auth.getClaims())
    assert.equal(claims.is_anonymous, true)
    assert.equal(claims.role, 'authenticated')
  })

  it('become permanent with an address, then a password, and keep their id', async () => {
    const email = newEmail()
    const client = gate.client()
    const before = ok(await client.auth.signInAnonymously()).user
    const named = ok(await client.auth.updateUser({ email })).user
    assert.equal(named.id, before.id)
    assert.equal(named.email, email)
    assert.equal(named.is_anonymous, false)
    ok(await client.auth.updateUser({ password }))
    ok(await client.auth.refreshSession())
    assert.equal(ok(await client.auth.getClaims()).claims.is_anonymous, false)
    const again = ok(await gate.client().auth.signInWithPassword({ email, password }))
    assert.equal(again.user.id, before.id)
  })

  it('cannot take the address of somebody else', async () => {
    const email = newEmail()
    ok(await gate.client().auth.signUp({ email, password }))
    const client = gate.client()
    ok(await client.auth.signInAnonymously())
    assert.equal((await client.auth.updateUser({ email })).error.code, 'email_exists')
  })
})

describe('signOut', () => {
  const gone = 'AuthSessionMissingError' // what supabase-js makes of session_not_found
  const threeSessions = async () => {
    const email = newEmail()
    const clients = [gate.client(), gate.client(), gate.client()]
    ok(await clients[0].auth.signUp({ email, password }))
    for (const client of clients.slice(1)) ok(await client.auth.signInWithPassword({ email, password }))
    // A client that signs out forgets its session: what the server thinks of it is asked with the token.
    const tokens = await Promise.all(clients.map(async (c) => ok(await c.auth.getSession()).session.access_token))
    const alive = () =>
      Promise.all(tokens.map(async (token) => (await gate.client().auth.getUser(token)).error?.name ?? 'alive'))
    return { clients, alive }
  }

  it('ends all sessions, which is the default', async () => {
    const { clients, alive } = await threeSessions()
    assert.deepEqual(await alive(), ['alive', 'alive', 'alive'])
    assert.equal((await clients[0].auth.signOut()).error, null)
    assert.deepEqual(await alive(), [gone, gone, gone])
    assert.equal(ok(await clients[0].auth.getSession()).session, null)
    assert.equal((await clients[1].auth.refreshSession()).error.code, 'refresh_token_not_found')
  })

  it('ends this session: local', async () => {
    const { clients, alive } = await threeSessions()
    assert.equal((await clients[0].auth.signOut({ scope: 'local' })).error, null)
    assert.deepEqual(await alive(), [gone, 'alive', 'alive'])
  })

  it('ends the other sessions: others', async () => {
    const { clients, alive } = await threeSessions()
    assert.equal((await clients[0].auth.signOut({ scope: 'others' })).error, null)
    assert.deepEqual(await alive(), ['alive', gone, gone])
    assert.ok(ok(await clients[0].auth.getSession()).session, 'this client stays signed in')
  })

  it('is no error for a session that is gone already', async () => {
    const { clients } = await threeSessions()
    ok({ data: {}, ...(await clients[0].auth.signOut()) })
    assert.equal((await clients[1].auth.signOut()).error, null)
  })
})
