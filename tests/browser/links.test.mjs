// The links of mails in a browser: straight to the application, or by way of POSTERN_VERIFY_CONFIRM_PAGE.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { openMailbox } from '../clients/mailbox.mjs'
import { newEmail, ok, password, start } from '../clients/postern.mjs'
import { openApp, openBrowser } from './browser.mjs'

const expired = 'Email link is invalid or has expired'

/** stage is a gateway, the application, and a browser that finds both. */
async function stage(env) {
  const mailbox = await openMailbox()
  const settings = {}
  const app = await openApp(settings)
  const gate = await start({
    ...mailbox.env, API_EXTERNAL_URL: 'http://auth.example.com', GOTRUE_SITE_URL: `${app.url}/implicit`, GOTRUE_URI_ALLOW_LIST: `${app.url}/*`, ...env,
  })
  const browser = await openBrowser({ 'auth.example.com:80': new URL(gate.url).host })
  return {
    app, browser, gate, mailbox,
    /** connect has the application use the gateway; until then its pages only show what their address says. */
    connect: () => Object.assign(settings, { url: gate.url, anonKey: gate.anonKey }),
    /** invited signs somebody up who has not opened the link yet. */
    async invited(auth = {}) {
      const email = newEmail()
      const client = gate.client(auth)
      ok(await client.auth.signUp({ email, password }))
      return { email, client, link: (await mailbox.mail(email)).link.href }
    },
    confirmed: (email) => gate.sql(`select email_confirmed_at is not null from auth.users where email = :'email'`, { email }),
    async close() {
      await browser.close()
      await gate.stop()
      await app.close()
      await mailbox.close()
    },
  }
}

/** newPage opens a tab with cookies and a storage of its own; it closes with the test. */
async function newPage(t, { browser }, options = {}) {
  const context = await browser.newContext(options)
  t.after(() => context.close())
  return context.newPage()
}

describe('with the confirmation page', () => {
  let at
  before(async () => {
    at = await stage({ POSTERN_VERIFY_CONFIRM_PAGE: 'true' })
  })
  after(() => at?.close())

  for (const javaScriptEnabled of [true, false]) {
    it(`a link uses nothing up until its button is pressed, JavaScript ${javaScriptEnabled ? 'on' : 'off'}`, async (t) => {
      const page = await newPage(t, at, { javaScriptEnabled })
      const { email, link } = await at.invited()
      await page.goto(link)
      await page.reload()
      await page.getByText('One more step').waitFor()
      assert.equal(await at.confirmed(email), 'f')
      await page.getByRole('button', { name: 'Continue' }).click()
      await page.waitForURL(`${at.app.url}/implicit#**`)
      const landed = new URLSearchParams(new URL(page.url()).hash.slice(1))
      assert.equal(landed.get('type'), 'signup')
      assert.equal(ok(await at.gate.client().auth.getUser(landed.get('access_token'))).user.email, email)
      assert.equal(await at.confirmed(email), 't')
    })
  }

  it('the button of a PKCE link leads to ?code=, which the client exchanges', async (t) => {
    const page = await newPage(t, at)
    const { email, client, link } = await at.invited({ flowType: 'pkce' })
    await page.goto(link)
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.waitForURL(`${at.app.url}/implicit?code=*`)
    const { user } = ok(await client.auth.exchangeCodeForSession(new URL(page.url()).searchParams.get('code')))
    assert.equal(user.email, email)
  })

  it('who presses the button of a used or an expired link is told by the application', async (t) => {
    const page = await newPage(t, at)
    const used = await at.invited()
    await page.goto(used.link)
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.waitForURL(`${at.app.url}/implicit#access_token*`)
    const late = await at.invited()
    await at.gate.sql(
      `update auth.users set confirmation_sent_at = now() - interval '2 days' where email = :'email';
       update auth.one_time_tokens set created_at = now() - interval '2 days', updated_at = now() - interval '2 days'
       where user_id = (select id from auth.users where email = :'email')`, { email: late.email },
    )
    for (const { link } of [used, late]) {
      await page.goto(link)
      await page.getByRole('button', { name: 'Continue' }).click()
      await page.getByRole('status').getByText(expired).waitFor()
      assert.equal(new URLSearchParams(new URL(page.url()).hash.slice(1)).get('error_code'), 'otp_expired')
    }
    assert.equal(await at.confirmed(late.email), 'f')
  })

  it('the page is shown in no frame, loads nothing and keeps its address to itself', async (t) => {
    const page = await newPage(t, at)
    const { link } = await at.invited()
    const asked = []
    page.on('request', (request) => asked.push(new URL(request.url())))
    await page.goto(link)
    assert.deepEqual(asked.map((url) => url.pathname), ['/verify'])
    const next = page.waitForRequest((request) => request.url().startsWith(at.app.url))
    await page.getByRole('button', { name: 'Continue' }).click()
    assert.equal(await (await next).headerValue('referer'), null)
    await page.goto(`${at.app.url}/implicit`)
    await page.evaluate((src) => {
      document.body.append(Object.assign(document.createElement('iframe'), { src }))
      return new Promise((resolve) => { document.querySelector('iframe').onload = resolve })
    }, link)
    assert.equal(await page.frameLocator('iframe').getByRole('button', { name: 'Continue' }).count(), 0)
  })
})

describe('without it', () => {
  let at
  before(async () => {
    at = await stage({})
    at.connect()
  })
  after(() => at?.close())

  it('a browser that looks ahead and a scanner that asks with HEAD use nothing up', async (t) => {
    const page = await newPage(t, at)
    const { email, link } = await at.invited()
    const head = await fetch(at.gate.url + new URL(link).pathname + new URL(link).search, { method: 'HEAD', redirect: 'manual' })
    assert.equal(head.headers.get('location'), null)
    await page.goto(`${at.app.url}/implicit`)
    const ahead = page.context().waitForEvent('response', (response) => response.url() === link)
    await page.evaluate((href) => document.head.append(Object.assign(document.createElement('link'), { rel: 'prefetch', href })), link)
    assert.equal((await ahead).status(), 204)
    assert.equal(await at.confirmed(email), 'f')
    await page.goto(link)
    await page.getByRole('status').getByText(`SIGNED_IN: ${email}`).waitFor()
    assert.equal(await at.confirmed(email), 't')
  })

  for (const flow of ['implicit', 'pkce']) {
    it(`supabase-js signs up in the page and finds the session that the link brings, flow ${flow}`, async (t) => {
      const page = await newPage(t, at)
      const email = newEmail()
      await page.goto(`${at.app.url}/${flow}`)
      await page.getByLabel('Address').fill(email)
      await page.getByLabel('Password').fill(password)
      await page.getByRole('button', { name: 'Sign up' }).click()
      await page.getByText('look into your mails').waitFor()
      const { link } = await at.mailbox.mail(email)
      assert.equal(link.searchParams.get('token').startsWith('pkce_'), flow === 'pkce')
      await page.goto(link.href)
      await page.getByRole('status').getByText(`SIGNED_IN: ${email}`).waitFor()
      assert.ok(page.url().startsWith(`${at.app.url}/${flow}`), page.url())
      assert.doesNotMatch(page.url(), /access_token|code=/) // supabase-js takes them out of the address
      await page.goto(`${at.app.url}/${flow}`)
      await page.getByRole('status').getByText(`INITIAL_SESSION: ${email}`).waitFor()
    })
  }

  it('a used link signs nobody in, and the application can say why', async (t) => {
    const { link } = await at.invited()
    const first = await newPage(t, at)
    await first.goto(link)
    await first.getByRole('status').getByText('SIGNED_IN').waitFor()
    const second = await newPage(t, at)
    await second.goto(link)
    await second.getByRole('status').getByText(expired).waitFor()
  })
})
