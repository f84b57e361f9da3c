// @supabase/ssr: a server that renders pages, whose only memory of a user is the cookies of each request.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createServerClient } from '@supabase/ssr'
import { newEmail, ok, password, start } from './postern.mjs'

/** browser keeps cookies; request gives the server a client for one request and stores what it sets. */
class Browser {
  cookies = new Map()

  constructor(gate, cookies = []) {
    this.gate = gate
    this.cookies = new Map(cookies)
  }

  request() {
    return createServerClient(this.gate.url, this.gate.anonKey, {
      cookies: {
        getAll: () => [...this.cookies].map(([name, value]) => ({ name, value })),
        setAll: (changes) => {
          for (const { name, value, options } of changes) {
            if (options.maxAge === 0) this.cookies.delete(name)
            else this.cookies.set(name, value)
          }
        },
      },
    })
  }

  /** refreshToken is what the cookies hold. */
  refreshToken() {
    const parts = [...this.cookies].filter(([name]) => /-auth-token(\.\d+)?$/.test(name)).toSorted(([a], [b]) => a.localeCompare(b))
    const text = parts.map(([, value]) => value).join('').replace(/^base64-/, '')
    return JSON.parse(Buffer.from(text, 'base64url')).refresh_token
  }
}

describe('with access tokens of an hour', () => {
  let gate
  before(async () => {
    gate = await start()
  })
  after(() => gate?.stop())

  it('who signs in during one request is known in the next', async () => {
    const email = newEmail()
    ok(await gate.client().auth.signUp({ email, password }))
    const browser = new Browser(gate)
    ok(await browser.request().auth.signInWithPassword({ email, password }))
    assert.ok(browser.cookies.size > 0)
    const next = browser.request()
    assert.equal(ok(await next.auth.getUser()).user.email, email)
    assert.equal(ok(await next.auth.getClaims()).claims.email, email)
  })

  it('another browser is nobody', async () => {
    assert.equal((await new Browser(gate).request().auth.getUser()).error.name, 'AuthSessionMissingError')
  })

  it('a session that was read is not written again', async () => {
    const browser = new Browser(gate)
    ok(await browser.request().auth.signUp({ email: newEmail(), password }))
    const before = new Map(browser.cookies)
    ok(await browser.request().auth.getUser())
    assert.deepEqual(browser.cookies, before)
  })

  it('signing out removes the cookies and ends the session', async () => {
    const browser = new Browser(gate)
    ok(await browser.request().auth.signUp({ email: newEmail(), password }))
    const stolen = new Browser(gate, browser.cookies)
    assert.equal((await browser.request().auth.signOut()).error, null)
    assert.equal([...browser.cookies.values()].join(''), '')
    assert.equal((await stolen.request().auth.getUser()).error.name, 'AuthSessionMissingError')
  })

  it('metadata larger than one cookie comes back whole', async () => {
    const browser = new Browser(gate)
    const story = 'once upon a time '.repeat(400)
    ok(await browser.request().auth.signUp({ email: newEmail(), password, options: { data: { story } } }))
    assert.ok(browser.cookies.size > 1)
    assert.equal(ok(await browser.request().auth.getUser()).user.user_metadata.story, story)
  })
})

describe('with access tokens that are about to expire', () => {
  let gate
  before(async () => {
    // Less than the 90 seconds before the end at which supabase-js refreshes: every request does.
    gate = await start({ GOTRUE_JWT_EXP: '60' })
  })
  after(() => gate?.stop())

  it('a request refreshes, and the cookies carry the new tokens', async () => {
    const browser = new Browser(gate)
    ok(await browser.request().auth.signUp({ email: newEmail(), password }))
    for (let i = 0; i < 3; i++) {
      const before = browser.refreshToken()
      ok(await browser.request().auth.getUser())
      assert.notEqual(browser.refreshToken(), before)
    }
  })

  it('two renders that refresh one cookie at once agree', async () => {
    const browser = new Browser(gate)
    const email = newEmail()
    ok(await browser.request().auth.signUp({ email, password }))
    // Each render answers with cookies of its own; the browser keeps those of the last answer.
    const renders = Array.from({ length: 2 }, () => new Browser(gate, browser.cookies))
    const users = await Promise.all(renders.map(async (render) => ok(await render.request().auth.getUser()).user))
    assert.deepEqual(users.map((user) => user.email), [email, email])
    const [one, other] = renders.map((render) => render.refreshToken())
    assert.equal(one, other)
    assert.notEqual(one, browser.refreshToken())
    ok(await renders[0].request().auth.getUser())
  })

  it('an answer that never reached the browser costs nobody the session', async () => {
    const browser = new Browser(gate)
    ok(await browser.request().auth.signUp({ email: newEmail(), password }))
    ok(await new Browser(gate, browser.cookies).request().auth.getUser()) // its cookies are lost
    ok(await browser.request().auth.getUser())
  })
})
