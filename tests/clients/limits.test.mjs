// What clients are told where the configuration says no.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createClient } from '@supabase/supabase-js'
import { newEmail, ok, password, start } from './postern.mjs'

describe('a gateway that limits clients by a header', () => {
  let gate
  before(async () => {
    gate = await start({
      GOTRUE_RATE_LIMIT_HEADER: 'X-Forwarded-For',
      GOTRUE_RATE_LIMIT_TOKEN_REFRESH: '0.5',
      GOTRUE_RATE_LIMIT_ANONYMOUS_USERS: '2',
    })
  })
  after(() => gate?.stop())

  const clientAt = (address, seen = []) =>
    createClient(gate.url, gate.anonKey, {
      auth: { autoRefreshToken: false, persistSession: false },
      global: {
        headers: { 'x-forwarded-for': address },
        fetch: async (...request) => {
          const response = await fetch(...request)
          seen.push(response)
          return response
        },
      },
    })

  it('says over_request_rate_limit, and when to come back', async () => {
    const responses = []
    const client = clientAt('192.0.2.1', responses)
    ok(await client.auth.signInAnonymously())
    ok(await client.auth.signInAnonymously())
    const { error } = await client.auth.signInAnonymously()
    assert.equal(error.code, 'over_request_rate_limit')
    assert.equal(error.status, 429)
    assert.ok(Number(responses.at(-1).headers.get('retry-after')) > 0)
    ok(await clientAt('192.0.2.2').auth.signInAnonymously()) // somebody else is not held back
  })

  it('limits refreshes, and the session survives the refusal', async () => {
    const client = clientAt('192.0.2.3')
    const { session } = ok(await client.auth.signUp({ email: newEmail(), password }))
    for (let i = 0; i < 30; i++) ok(await client.auth.refreshSession())
    const { error } = await client.auth.refreshSession()
    assert.equal(error.code, 'over_request_rate_limit')
    const held = ok(await client.auth.getSession()).session
    ok(await clientAt('192.0.2.4').auth.refreshSession(held))
    assert.notEqual(held.refresh_token, session.refresh_token)
  })
})

describe('a gateway with password rules, closed to newcomers', () => {
  let gate
  before(async () => {
    gate = await start({
      GOTRUE_DISABLE_SIGNUP: 'true',
      GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED: 'false',
      GOTRUE_PASSWORD_MIN_LENGTH: '10',
      GOTRUE_PASSWORD_REQUIRED_CHARACTERS: 'abcdefghijklmnopqrstuvwxyz:0123456789',
      GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_CURRENT_PASSWORD: 'true',
    })
  })
  after(() => gate?.stop())

  it('says signup_disabled and anonymous_provider_disabled', async () => {
    const signUp = await gate.client().auth.signUp({ email: newEmail(), password: 'long enough 1' })
    assert.equal(signUp.error.code, 'signup_disabled')
    const anonymous = await gate.client().auth.signInAnonymously()
    assert.equal(anonymous.error.code, 'anonymous_provider_disabled')
  })

  it('still lets administrators make accounts, by the same rules', async () => {
    const email = newEmail()
    ok(await gate.admin().createUser({ email, password: 'long enough 1', email_confirm: true }))
    const client = gate.client()
    ok(await client.auth.signInWithPassword({ email, password: 'long enough 1' }))
    const weak = (await client.auth.updateUser({ password: 'short' })).error
    assert.equal(weak.code, 'weak_password')
    assert.deepEqual(weak.reasons.toSorted(), ['characters', 'length'])
  })

  it('asks for the current password before a new one', async () => {
    const email = newEmail()
    ok(await gate.admin().createUser({ email, password: 'long enough 1', email_confirm: true }))
    const client = gate.client()
    ok(await client.auth.signInWithPassword({ email, password: 'long enough 1' }))
    const change = { password: 'long enough 2' }
    assert.equal((await client.auth.updateUser(change)).error.code, 'current_password_required')
    assert.equal(
      (await client.auth.updateUser({ ...change, current_password: 'a guess' })).error.code, 'current_password_invalid',
    )
    ok(await client.auth.updateUser({ ...change, current_password: 'long enough 1' }))
  })
})

describe('a gateway whose accounts need a confirmation', () => {
  let gate
  before(async () => {
    gate = await start({ GOTRUE_MAILER_AUTOCONFIRM: 'false', GOTRUE_EXTERNAL_EMAIL_ENABLED: 'true' })
  })
  after(() => gate?.stop())

  it('opens no session, and says email_not_confirmed until the account is confirmed', async () => {
    const email = newEmail()
    const { user, session } = ok(await gate.client().auth.signUp({ email, password }))
    assert.equal(session, null)
    assert.equal((await gate.client().auth.signInWithPassword({ email, password })).error.code, 'email_not_confirmed')
    ok(await gate.admin().updateUserById(user.id, { email_confirm: true }))
    ok(await gate.client().auth.signInWithPassword({ email, password }))
  })

  it('does not tell whether an address is taken', async () => {
    const email = newEmail()
    ok(await gate.admin().createUser({ email, password, email_confirm: true }))
    const { user, session } = ok(await gate.client().auth.signUp({ email, password: 'a guess at it' }))
    assert.equal(session, null)
    assert.equal(user.email, email)
    assert.deepEqual(user.identities, [])
  })
})

describe('an application in a browser', () => {
  let gate
  before(async () => {
    gate = await start({ GOTRUE_CORS_ALLOWED_HEADERS: 'apikey' })
  })
  after(() => gate?.stop())

  it('may send every header that supabase-js sends', async () => {
    const sent = new Set()
    const client = createClient(gate.url, gate.anonKey, {
      auth: { autoRefreshToken: false, persistSession: false },
      global: {
        fetch: (url, init) => {
          for (const [name] of new Headers(init.headers)) sent.add(name)
          return fetch(url, init)
        },
      },
    })
    ok(await client.auth.signUp({ email: newEmail(), password }))
    ok(await client.auth.updateUser({ data: { a: 1 } }))
    ok(await client.auth.refreshSession())
    const simple = new Set(['accept'])
    const headers = [...sent].filter((name) => !simple.has(name)).toSorted()
    assert.ok(headers.includes('apikey') && headers.includes('x-supabase-api-version'))
    const preflight = await fetch(`${gate.url}/auth/v1/user`, {
      method: 'OPTIONS',
      headers: {
        origin: 'http://localhost:3000',
        'access-control-request-method': 'PUT',
        'access-control-request-headers': headers.join(','),
      },
    })
    assert.ok(preflight.ok)
    const allowed = (preflight.headers.get('access-control-allow-headers') ?? '').toLowerCase().split(/, */)
    assert.deepEqual(headers.filter((name) => !allowed.includes(name)), [])
    assert.ok(preflight.headers.get('access-control-allow-origin'))
  })
})

describe('features that are not built', () => {
  let gate
  before(async () => {
    gate = await start()
  })
  after(() => gate?.stop())

  it('fail as errors of the client, never as exceptions', async () => {
    const client = gate.client()
    ok(await client.auth.signUp({ email: newEmail(), password }))
    const answers = {
      enroll: await client.auth.mfa.enroll({ factorType: 'webauthn', friendlyName: 'key' }),
      linkIdentity: await client.auth.linkIdentity({ provider: 'github', options: { skipBrowserRedirect: true } }),
      signInWithSSO: await client.auth.signInWithSSO({ domain: 'example.com' }),
    }
    for (const [name, { error }] of Object.entries(answers)) {
      assert.ok(error?.__isAuthError, name)
    }
  })
})
