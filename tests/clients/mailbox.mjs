// A real SMTP server in the process of the tests, and what it received.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import PostalMime from 'postal-mime'
import { SMTPServer } from 'smtp-server'
import { patience } from './postern.mjs'

/** templates have every mail hold its code and its link; the built-in ones hold one of them. */
const templates = Object.fromEntries(
  ['CONFIRMATION', 'INVITE', 'RECOVERY', 'MAGIC_LINK', 'EMAIL_CHANGE', 'REAUTHENTICATION'].map((kind) => [
    `GOTRUE_MAILER_TEMPLATES_${kind}`,
    `<p>Code: {{ .Token }}</p>${kind === 'REAUTHENTICATION' ? '' : '<p><a href="{{ .ConfirmationURL }}">Go on</a></p>'}`,
  ]),
)

/** openMailbox starts the server. Its env makes it the relay of a gateway that confirms addresses by mail. */
export async function openMailbox() {
  const mails = []
  let arrived = () => {}
  const server = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    logger: false,
    onData(stream, session, done) {
      buffer(stream)
        .then((raw) => PostalMime.parse(raw))
        .then((mail) => {
          mails.push(received(session.envelope.rcptTo[0].address, mail))
          arrived()
          done()
        })
        .catch(done)
    },
  })
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  const to = (address) => mails.filter((mail) => mail.to === address)
  return {
    env: {
      GOTRUE_MAILER_AUTOCONFIRM: 'false',
      GOTRUE_SMTP_HOST: '127.0.0.1',
      GOTRUE_SMTP_PORT: String(server.server.address().port),
      GOTRUE_SMTP_ADMIN_EMAIL: 'auth@example.com',
      GOTRUE_SMTP_MAX_FREQUENCY: '1ms',
      GOTRUE_RATE_LIMIT_EMAIL_SENT: '100000',
      ...templates,
    },
    to,
    /** mail waits for the n-th mail to an address. */
    async mail(address, n = 1) {
      const deadline = Date.now() + patience
      while (to(address).length < n) {
        assert.ok(Date.now() < deadline, `mail ${n} to ${address} does not come`)
        await Promise.race([
          new Promise((resolve) => (arrived = resolve)), new Promise((resolve) => setTimeout(resolve, 1000)),
        ])
      }
      return to(address)[n - 1]
    },
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}

/** received is what tests look at of a mail. */
function received(to, { subject, html }) {
  const code = html.match(/\b\d{6}\b(?![^<]*>)/)?.[0]
  const href = html.match(/href="([^"]+)"/)?.[1].replaceAll('&amp;', '&')
  return { to, subject, html, code, link: href && new URL(href) }
}

/** follow opens a link as a browser does, at the gateway under test, and returns where it is sent. */
export async function follow(gate, link) {
  const response = await fetch(gate.url + link.pathname + link.search, { redirect: 'manual' })
  assert.equal(response.status, 303, await response.text())
  const target = new URL(response.headers.get('location'))
  return {
    page: target.origin + target.pathname,
    query: target.searchParams,
    fragment: new URLSearchParams(target.hash.slice(1)),
  }
}
