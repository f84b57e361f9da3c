// auth.mfa and auth.admin.mfa: second factors, and a policy that demands one.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { asPostgREST, claimsOf, newEmail, ok, password, start } from './postern.mjs'

let gate, receiver, code
before(async () => {
  // Receives the hook send_sms, and so the codes of phone factors.
  receiver = createServer(async (request, response) => {
    let body = ''
    for await (const part of request) body += part
    code = JSON.parse(body).sms
    response.writeHead(204).end()
  })
  await new Promise((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  gate = await start({
    GOTRUE_MFA_PHONE_ENROLL_ENABLED: 'true',
    GOTRUE_MFA_PHONE_VERIFY_ENABLED: 'true',
    GOTRUE_HOOK_SEND_SMS_ENABLED: 'true',
    GOTRUE_HOOK_SEND_SMS_URI: `http://127.0.0.1:${receiver.address().port}/`,
  })
  await gate.sql(`
    create table public.papers (
        owner uuid not null default auth.uid() references auth.users (id) on delete cascade,
        title text not null
    );
    alter table public.papers enable row level security;
    grant select, insert on public.papers to authenticated;
    create policy "own papers" on public.papers using (auth.uid() = owner);
    create policy "second factor" on public.papers as restrictive for select using ((select auth.jwt() ->> 'aal') = 'aal2');
  `)
})
after(async () => {
  await gate?.stop()
  receiver.close()
})

/** appCode is what an authenticator app shows (RFC 6238). */
function appCode(secret, steps = 0) {
  const bits = [...secret].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + steps))
  const mac = createHmac('sha1', key).update(counter).digest()
  const number = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff
  return String(number % 1_000_000).padStart(6, '0')
}

async function member() {
  const email = newEmail()
  const client = gate.client()
  const { user } = ok(await client.auth.signUp({ email, password }))
  return { client, email, id: user.id, mfa: client.auth.mfa }
}

const token = async ({ client }) => ok(await client.auth.getSession()).session.access_token
const papers = async (who) => asPostgREST(gate, await token(who), 'select title from papers')

describe('an authenticator app', () => {
  it('raises the session to aal2, for the policies of tables too', async () => {
    const ada = await member()
    await asPostgREST(gate, await token(ada), `insert into papers (title) values ('will')`)
    assert.equal(await papers(ada), '')

    const enrolled = ok(await ada.mfa.enroll({ factorType: 'totp', friendlyName: 'app', issuer: 'My Shop' }))
    assert.match(enrolled.totp.qr_code, /^data:image\/svg\+xml;utf-8,<\?xml/)
    assert.ok(enrolled.totp.uri.startsWith('otpauth://totp/My%20Shop:'))
    assert.deepEqual(ok(await ada.mfa.listFactors()).totp, [])

    const challenge = ok(await ada.mfa.challenge({ factorId: enrolled.id }))
    const wrong = await ada.mfa.verify({
      factorId: enrolled.id, challengeId: challenge.id, code: appCode(enrolled.totp.secret, 10),
    })
    assert.equal(wrong.error.code, 'mfa_verification_failed')
    const verified = ok(
      await ada.mfa.verify({ factorId: enrolled.id, challengeId: challenge.id, code: appCode(enrolled.totp.secret) }),
    )
    assert.equal(claimsOf(verified.access_token, gate.secret).aal, 'aal2')
    assert.equal(await papers(ada), 'will')
    assert.deepEqual(ok(await ada.mfa.listFactors()).totp.map((f) => f.friendly_name), ['app'])
    ok(await ada.client.auth.refreshSession())
    assert.equal(await papers(ada), 'will')

    const level = (data) => [data.currentLevel, data.nextLevel]
    assert.deepEqual(level(ok(await ada.mfa.getAuthenticatorAssuranceLevel())), ['aal2', 'aal2'])

    // The next sign-in begins at aal1 again, and knows that more is possible.
    const again = gate.client()
    ok(await again.auth.signInWithPassword({ email: ada.email, password }))
    const weak = { client: again, mfa: again.auth.mfa }
    assert.deepEqual(level(ok(await weak.mfa.getAuthenticatorAssuranceLevel())), ['aal1', 'aal2'])
    assert.equal(await papers(weak), '')
    assert.equal((await again.auth.updateUser({ password: 'another horse' })).error.code, 'insufficient_aal')
    assert.equal((await weak.mfa.unenroll({ factorId: enrolled.id })).error.code, 'insufficient_aal')
    ok(await weak.mfa.challengeAndVerify({ factorId: enrolled.id, code: appCode(enrolled.totp.secret) }))
    assert.equal(await papers(weak), 'will')
    ok(await again.auth.updateUser({ password: 'another horse' }))

    assert.equal(ok(await weak.mfa.unenroll({ factorId: enrolled.id })).id, enrolled.id)
    ok(await again.auth.refreshSession())
    assert.deepEqual(level(ok(await weak.mfa.getAuthenticatorAssuranceLevel())), ['aal1', 'aal1'])
    assert.equal(await papers(weak), '')
  })
})

describe('a phone', () => {
  it('gets its code by SMS', async () => {
    const bob = await member()
    const enrolled = ok(await bob.mfa.enroll({ factorType: 'phone', friendlyName: 'mobile', phone: '+4915112345' }))
    assert.equal(enrolled.phone, '+4915112345')
    const challenge = ok(await bob.mfa.challenge({ factorId: enrolled.id, channel: 'sms' }))
    assert.deepEqual({ ...code, otp: undefined }, { otp: undefined, phone: '4915112345', sms_type: 'mfa' })
    ok(await bob.mfa.verify({ factorId: enrolled.id, challengeId: challenge.id, code: code.otp }))
    const { currentAuthenticationMethods } = ok(await bob.mfa.getAuthenticatorAssuranceLevel())
    assert.deepEqual(currentAuthenticationMethods.map((m) => m.method).sort(), ['mfa/phone', 'password'])
    assert.equal(ok(await bob.mfa.listFactors()).phone.length, 1)
  })
})

describe('a security key', () => {
  it('is not known yet', async () => {
    const { error } = await (await member()).mfa.enroll({ factorType: 'webauthn', friendlyName: 'key' })
    assert.equal(error.code, 'mfa_webauthn_enroll_not_enabled')
  })
})

describe('admin.mfa', () => {
  it('lists and deletes the factors of an account', async () => {
    const eve = await member()
    const { id } = ok(await eve.mfa.enroll({ factorType: 'totp', friendlyName: 'app' }))
    const admin = gate.admin()
    const { factors } = ok(await admin.mfa.listFactors({ userId: eve.id }))
    assert.deepEqual(factors.map((f) => [f.id, f.status]), [[id, 'unverified']])
    const answer = ok(await admin.mfa.deleteFactor({ userId: eve.id, id }))
    assert.equal(answer.data.id, id) // auth-js wraps it twice
    assert.deepEqual(ok(await admin.mfa.listFactors({ userId: eve.id })).factors, [])
  })
})
