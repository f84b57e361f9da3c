// Sessions as supabase-js keeps them: refreshing, restoring, the events, and checking tokens without the server.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { newEmail, ok, password, patience, postern, start } from './postern.mjs'

/** memory is a storage as browsers have it. */
function memory() {
  const items = new Map()
  return {
    items,
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  }
}

/** listenTo collects the events of a client; until waits for one of them. */
function listenTo(client) {
  const seen = []
  const waiting = []
  client.auth.onAuthStateChange((event, session) => {
    seen.push(event)
    for (const one of waiting) if (one.event === event) one.resolve(session)
  })
  const until = (event) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${event}, only ${seen}`)), patience)
      waiting.push({ event, resolve: (session) => (clearTimeout(timer), resolve(session)) })
    })
  return { seen, until }
}

describe('with access tokens of an hour', () => {
  let gate
  before(async () => {
    gate = await start()
  })
  after(() => gate?.stop())

  it('refreshSession replaces the refresh token, and the session stays', async () => {
    const client = gate.client()
    const first = ok(await client.auth.signUp({ email: newEmail(), password })).session
    const second = ok(await client.auth.refreshSession()).session
    assert.notEqual(second.refresh_token, first.refresh_token)
    const sessionOf = async (token) => ok(await client.auth.getClaims(token)).claims.session_id
    assert.equal(await sessionOf(second.access_token), await sessionOf(first.access_token))
  })

  it('a refresh whose answer was lost can be repeated', async () => {
    const client = gate.client()
    const { refresh_token } = ok(await client.auth.signUp({ email: newEmail(), password })).session
    const once = ok(await gate.client().auth.refreshSession({ refresh_token })).session
    const again = ok(await gate.client().auth.refreshSession({ refresh_token })).session
    assert.equal(again.refresh_token, once.refresh_token)
  })

  it('says refresh_token_not_found for a token that it never issued', async () => {
    const { error } = await gate.client().auth.refreshSession({ refresh_token: 'abcdefghijkl' })
    assert.equal(error.code, 'refresh_token_not_found')
    assert.equal(error.status, 400)
  })

  it('setSession adopts the tokens of another client', async () => {
    const email = newEmail()
    const { session } = ok(await gate.client().auth.signUp({ email, password }))
    const client = gate.client()
    const { user } = ok(await client.auth.setSession(session))
    assert.equal(user.email, email)
    ok(await client.auth.refreshSession())
  })

  it('setSession refreshes when the access token has expired', async () => {
    const { session } = ok(await gate.client().auth.signUp({ email: newEmail(), password }))
    const [head, body] = session.access_token.split('.')
    const claims = { ...JSON.parse(Buffer.from(body, 'base64url')), exp: 1 }
    const expired = `${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${'A'.repeat(43)}`
    const client = gate.client()
    const renewed = ok(await client.auth.setSession({ ...session, access_token: expired })).session
    assert.notEqual(renewed.refresh_token, session.refresh_token)
    ok(await client.auth.getUser())
  })

  it('a token with a foreign signature is bad_jwt', async () => {
    const { session } = ok(await gate.client().auth.signUp({ email: newEmail(), password }))
    const forged = session.access_token.replace(/[^.]+$/, 'A'.repeat(43))
    const { error } = await gate.client().auth.getUser(forged)
    assert.equal(error.code, 'bad_jwt')
    assert.equal(error.status, 403)
  })

  it('says session_not_found after an administrator ended the session in psql', async () => {
    const client = gate.client()
    const { user } = ok(await client.auth.signUp({ email: newEmail(), password }))
    await gate.sql(`delete from auth.sessions where user_id = :'id'`, { id: user.id })
    const { session } = ok(await client.auth.getSession())
    const response = await fetch(`${gate.url}/auth/v1/user`, { headers: { authorization: `Bearer ${session.access_token}` } })
    assert.equal(response.status, 403)
    assert.equal(response.headers.get('x-sb-error-code'), 'session_not_found')
    assert.equal((await gate.client().auth.getUser(session.access_token)).error.name, 'AuthSessionMissingError')
    assert.equal((await client.auth.refreshSession()).error.code, 'refresh_token_not_found')
  })

  it('getClaims asks the server about a token signed with the secret', async () => {
    const client = gate.client()
    const { user } = ok(await client.auth.signUp({ email: newEmail(), password }))
    const { claims, header } = ok(await client.auth.getClaims())
    assert.equal(header.alg, 'HS256')
    assert.equal(claims.sub, user.id)
    assert.equal(claims.aal, 'aal1')
    assert.deepEqual(claims.amr.map((entry) => entry.method), ['password'])
  })

  it('tells listeners what happens, in order', async () => {
    const client = gate.client()
    const { seen, until } = listenTo(client)
    await until('INITIAL_SESSION')
    const email = newEmail()
    ok(await client.auth.signUp({ email, password }))
    ok(await client.auth.refreshSession())
    ok(await client.auth.updateUser({ data: { a: 1 } }))
    await client.auth.signOut()
    ok(await client.auth.signInWithPassword({ email, password }))
    assert.deepEqual(seen, [
      'INITIAL_SESSION', 'SIGNED_IN', 'TOKEN_REFRESHED', 'USER_UPDATED', 'SIGNED_OUT', 'SIGNED_IN',
    ])
  })

  it('tells listeners SIGNED_OUT when neither token is good any more', async () => {
    const storage = memory()
    const client = gate.client({ storage, persistSession: true })
    const { user, session } = ok(await client.auth.signUp({ email: newEmail(), password }))
    const { until } = listenTo(client)
    await gate.sql(`delete from auth.sessions where user_id = :'id'`, { id: user.id })
    for (const [key, value] of storage.items) storage.setItem(key, JSON.stringify({ ...JSON.parse(value), expires_at: 1 }))
    const signedOut = until('SIGNED_OUT')
    assert.equal((await client.auth.refreshSession(session)).error.code, 'refresh_token_not_found')
    await signedOut
    assert.equal(ok(await client.auth.getSession()).session, null)
  })
})

describe('with access tokens that are about to expire', () => {
  let gate
  before(async () => {
    // Less than the 90 seconds before the end at which supabase-js refreshes.
    gate = await start({ GOTRUE_JWT_EXP: '60' })
  })
  after(() => gate?.stop())

  it('a client refreshes by itself', async () => {
    const client = gate.client({ autoRefreshToken: true })
    const { session } = ok(await client.auth.signUp({ email: newEmail(), password }))
    const { until } = listenTo(client)
    const refreshed = until('TOKEN_REFRESHED')
    await client.auth.startAutoRefresh()
    try {
      assert.notEqual((await refreshed).refresh_token, session.refresh_token)
    } finally {
      await client.auth.stopAutoRefresh()
    }
  })

  it('a stored session is refreshed when the application starts again', async () => {
    const storage = memory()
    const email = newEmail()
    const before = ok(await gate.client({ storage, persistSession: true }).auth.signUp({ email, password })).session
    const restarted = gate.client({ storage, persistSession: true, autoRefreshToken: true })
    try {
      const { session } = ok(await restarted.auth.getSession())
      assert.equal(session.user.email, email)
      assert.notEqual(session.refresh_token, before.refresh_token)
      assert.equal(JSON.parse([...storage.items.values()][0]).refresh_token, session.refresh_token)
    } finally {
      await restarted.auth.stopAutoRefresh()
    }
  })

  it('tabs that refresh one stored session at once end up with the same tokens', async () => {
    const { session } = ok(await gate.client().auth.signUp({ email: newEmail(), password }))
    const tabs = await Promise.all(
      Array.from({ length: 8 }, () => gate.client().auth.refreshSession({ refresh_token: session.refresh_token })),
    )
    const tokens = new Set(tabs.map((answer) => ok(answer).session.refresh_token))
    assert.equal(tokens.size, 1)
  })
})

describe('with a key pair', () => {
  let gate
  before(async () => {
    const { GOTRUE_JWT_KEYS } = JSON.parse(await postern(['keys', 'jwks', '--alg', 'ES256', '--json']))
    gate = await start({ GOTRUE_JWT_KEYS: JSON.stringify(GOTRUE_JWT_KEYS) })
  })
  after(() => gate?.stop())

  it('getClaims verifies the token with the published key and asks nobody', async () => {
    const client = gate.client()
    const { user } = ok(await client.auth.signUp({ email: newEmail(), password }))
    ok(await client.auth.getClaims()) // fetches /.well-known/jwks.json
    // Were the server asked, it would say that the session is gone.
    await gate.sql(`delete from auth.sessions where user_id = :'id'`, { id: user.id })
    const { claims, header } = ok(await client.auth.getClaims())
    assert.equal(header.alg, 'ES256')
    assert.equal(claims.sub, user.id)
  })

  it('getClaims refuses a token whose claims were changed', async () => {
    const client = gate.client()
    const { session } = ok(await client.auth.signUp({ email: newEmail(), password }))
    const [head, body, signature] = session.access_token.split('.')
    const claims = { ...JSON.parse(Buffer.from(body, 'base64url')), role: 'service_role' }
    const changed = `${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`
    const { error } = await client.auth.getClaims(changed)
    assert.match(error.message, /Invalid JWT signature/)
  })

  it('signs in, refreshes and signs out', async () => {
    const email = newEmail()
    const client = gate.client()
    ok(await client.auth.signUp({ email, password }))
    ok(await client.auth.refreshSession())
    ok(await client.auth.getUser())
    assert.equal((await client.auth.signOut()).error, null)
  })
})
