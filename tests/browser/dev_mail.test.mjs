// /dev/mail of `postern dev`, in a browser.
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { startDev } from '../clients/dev.mjs'
import { folder } from '../clients/documents.mjs'
import { newEmail, password } from '../clients/postern.mjs'
import { openApp, openBrowser } from './browser.mjs'

let app, browser, context, dev, place, url
before(async () => {
  app = await openApp()
  place = await folder()
  dev = await startDev(place.path, {
    GOTRUE_MAILER_AUTOCONFIRM: 'false',
    GOTRUE_EXTERNAL_PHONE_ENABLED: 'true',
    GOTRUE_SITE_URL: `${app.url}/implicit`,
    // A mail as hostile as one can be.
    GOTRUE_MAILER_TEMPLATES_RECOVERY:
      '<p id="said">harmless</p><script>document.getElementById("said").textContent = "ran"; parent.document.title = "ran"</script>' +
      '<form action="/signup" method="post"><button>Send</button></form><p>{{ .Token }}</p>',
  })
  url = dev.sheet.match(/Mails +(\S+)/)[1]
  browser = await openBrowser()
  context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] })
})
after(async () => {
  await browser?.close()
  await dev?.stop()
  await app?.close()
  await place?.remove()
})

const ask = async (path, body) => {
  const answer = await fetch(new URL(path, url), {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
  })
  assert.equal(answer.status, 200, await answer.text())
}

/** newest waits for the mails to an address after the one with an id, as a script does. */
const newest = async (email, after) => (await fetch(`${url}.json?to=${email}&after=${after}&wait=10s`)).json()

it('a mail appears in the list by itself, and its link signs in', async () => {
  const page = await context.newPage()
  await page.goto(url)
  await page.getByText('No mails yet').waitFor()
  const email = newEmail()
  await ask('/signup', { email, password })
  const row = page.getByRole('row', { name: email })
  await row.waitFor()
  assert.match(await row.innerText(), /\d\d:\d\d:\d\d\s.*Confirm your email address\s+confirmation\s+Open link/s)

  await row.getByRole('link', { name: 'Confirm your email address' }).click()
  await page.getByRole('heading', { name: 'Confirm your email address' }).waitFor()
  const mail = page.frameLocator('iframe')
  await mail.getByText('One click on this link').waitFor()
  await page.getByText('Headers').click()
  await page.getByText('X-Postern-Kind: confirmation').waitFor()

  const opened = context.waitForEvent('page')
  await mail.getByRole('link', { name: 'Confirm email address' }).click()
  const landed = await opened
  await landed.waitForURL(`${app.url}/implicit#access_token=*`)
  const answer = await fetch(new URL('/user', url), {
    headers: { authorization: `Bearer ${new URLSearchParams(new URL(landed.url()).hash.slice(1)).get('access_token')}` },
  })
  assert.equal((await answer.json()).email, email)
})

it('the link in the list is ready to click, and a click on a code copies it', async () => {
  const page = await context.newPage()
  const email = newEmail()
  await ask('/otp', { email })
  await ask('/otp', { phone: '+4915112345678' })
  await page.goto(url)
  const opened = context.waitForEvent('page')
  await page.getByRole('row', { name: email }).getByRole('link', { name: 'Open link' }).click()
  await (await opened).waitForURL(`${app.url}/implicit#access_token=*`)
  const text = page.getByRole('row', { name: '4915112345678' })
  const code = (await text.innerText()).match(/Your code is (\d{6})/)[1]
  await text.getByRole('button', { name: code }).click()
  await text.getByText('Copied').waitFor()
  assert.equal(await page.evaluate('navigator.clipboard.readText()'), code)
})

it('a hostile mail does nothing', async () => {
  const page = await context.newPage()
  const email = newEmail()
  await ask('/signup', { email, password })
  const [first] = await newest(email, 0)
  await ask('/recover', { email })
  const [found] = await newest(email, first.id)
  assert.equal(found.kind, 'recovery')
  await page.goto(`${url}/${found.id}`)
  const mail = page.frameLocator('iframe')
  await mail.getByText('harmless').waitFor()
  await mail.getByRole('button', { name: 'Send' }).click()
  assert.equal(await mail.locator('#said').innerText(), 'harmless')
  assert.doesNotMatch(await page.title(), /ran/)
  // Opened without the frame it is in the same sandbox.
  await page.goto(`${url}/${found.id}/html`)
  assert.equal(await page.locator('#said').innerText(), 'harmless')
  assert.equal(await page.evaluate('self.origin'), 'null')
})
