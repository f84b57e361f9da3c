// supabase-js and the mails that it has sent, read from a real SMTP server: links and codes in all their ways.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { follow, openMailbox } from './mailbox.mjs'
import { newEmail, ok, password, start } from './postern.mjs'

const app = 'http://app.example.com/'
const welcome = 'http://app.example.com/welcome'

let mailbox, gate
before(async () => {
  mailbox = await openMailbox()
  gate = await start({
    ...mailbox.env,
    GOTRUE_URI_ALLOW_LIST: welcome,
    GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION: 'true',
  })
})
after(async () => {
  await gate?.stop()
  await mailbox?.close()
})

const pkce = () => gate.client({ flowType: 'pkce' })

/** refused expects an error of the client with that code. */
function refused({ data, error }, code, status) {
  assert.equal(error?.code, code)
  assert.equal(error.status, status)
  assert.ok(!data?.session)
}

/** account makes one whose address is confirmed, and a client that is signed in to it. */
async function account() {
  const email = newEmail()
  ok(await gate.admin().createUser({ email, password, email_confirm: true }))
  const client = gate.client()
  const { user } = ok(await client.auth.signInWithPassword({ email, password }))
  return { email, client, user }
}

/** landed takes the session of a link's fragment, as an application without detectSessionInUrl does. */
async function landed({ fragment }, type) {
  assert.equal(fragment.get('type'), type, `${fragment}`)
  const client = gate.client()
  const { user } = ok(
    await client.auth.setSession({
      access_token: fragment.get('access_token'), refresh_token: fragment.get('refresh_token'),
    }),
  )
  return { client, user }
}

describe('sign-up with confirmation', () => {
  const signUp = async (client, options = {}) => {
    const email = newEmail()
    const { user, session } = ok(await client.auth.signUp({ email, password, options }))
    assert.equal(session, null)
    assert.equal(user.email, email)
    assert.equal(user.email_confirmed_at, undefined)
    refused(await gate.client().auth.signInWithPassword({ email, password }), 'email_not_confirmed', 400)
    return { email, mail: await mailbox.mail(email) }
  }

  it('by the link, which works once', async () => {
    const { email, mail } = await signUp(gate.client())
    const there = await follow(gate, mail.link)
    assert.equal(there.page, app)
    assert.equal((await landed(there, 'signup')).user.email, email)
    ok(await gate.client().auth.signInWithPassword({ email, password }))
    const again = await follow(gate, mail.link)
    assert.equal(again.fragment.get('error_code'), 'otp_expired')
    assert.equal(again.fragment.get('access_token'), null)
  })

  it('by the link with PKCE, whose code only the client that signed up exchanges', async () => {
    const client = pkce()
    const { email, mail } = await signUp(client, { emailRedirectTo: welcome })
    const { page, query, fragment } = await follow(gate, mail.link)
    assert.equal(page, welcome)
    assert.equal(`${fragment}`, '')
    const other = pkce()
    ok(await other.auth.signInWithOtp({ email: newEmail() })) // it has a verifier, of its own
    refused(await other.auth.exchangeCodeForSession(query.get('code')), 'bad_code_verifier', 400)
    const { user } = ok(await client.auth.exchangeCodeForSession(query.get('code')))
    assert.equal(user.email, email)
    assert.ok(user.email_confirmed_at)
    ok(await client.auth.getUser())
  })

  for (const type of ['signup', 'email']) {
    it(`by the code, of type ${type}; a wrong one and a used one are otp_expired`, async () => {
      const { email, mail } = await signUp(gate.client())
      const wrong = mail.code === '000000' ? '000001' : '000000'
      refused(await gate.client().auth.verifyOtp({ email, token: wrong, type }), 'otp_expired', 403)
      const client = gate.client()
      const { user, session } = ok(await client.auth.verifyOtp({ email, token: mail.code, type }))
      assert.equal(user.email, email)
      assert.ok(session.access_token)
      ok(await client.auth.refreshSession())
      refused(await gate.client().auth.verifyOtp({ email, token: mail.code, type }), 'otp_expired', 403)
    })
  }

  it('by the token_hash of the link, as a server that renders pages does', async () => {
    const { email, mail } = await signUp(gate.client())
    const token_hash = mail.link.searchParams.get('token')
    refused(await gate.client().auth.verifyOtp({ token_hash: `${token_hash}0`, type: 'email' }), 'otp_expired', 403)
    const { user } = ok(await gate.client().auth.verifyOtp({ token_hash, type: 'email' }))
    assert.equal(user.email, email)
    refused(await gate.client().auth.verifyOtp({ token_hash, type: 'email' }), 'otp_expired', 403)
  })

  it('resend sends another mail, and the one before it no longer works', async () => {
    const { email, mail } = await signUp(gate.client())
    ok(await gate.client().auth.resend({ type: 'signup', email, options: { emailRedirectTo: welcome } }))
    const second = await mailbox.mail(email, 2)
    assert.notEqual(second.code, mail.code)
    refused(await gate.client().auth.verifyOtp({ email, token: mail.code, type: 'signup' }), 'otp_expired', 403)
    assert.equal((await follow(gate, mail.link)).fragment.get('error_code'), 'otp_expired')
    const there = await follow(gate, second.link)
    assert.equal(there.page, welcome)
    await landed(there, 'signup')
  })

  it('a redirect that is not on the list becomes the site', async () => {
    const { mail } = await signUp(gate.client(), { emailRedirectTo: 'http://evil.example.com/' })
    assert.equal((await follow(gate, mail.link)).page, app)
  })
})

describe('signInWithOtp', () => {
  it('signs in by code and by link', async () => {
    const { email, user } = await account()
    ok(await gate.client().auth.signInWithOtp({ email }))
    const byCode = await mailbox.mail(email)
    const signedIn = ok(await gate.client().auth.verifyOtp({ email, token: byCode.code, type: 'email' }))
    assert.equal(signedIn.user.id, user.id)
    ok(await gate.client().auth.signInWithOtp({ email, options: { emailRedirectTo: welcome } }))
    const there = await follow(gate, (await mailbox.mail(email, 2)).link)
    assert.equal(there.page, welcome)
    assert.equal((await landed(there, 'magiclink')).user.id, user.id)
  })

  it('signs in with PKCE', async () => {
    const { email, user } = await account()
    const client = pkce()
    ok(await client.auth.signInWithOtp({ email }))
    const { query } = await follow(gate, (await mailbox.mail(email)).link)
    assert.equal(ok(await client.auth.exchangeCodeForSession(query.get('code'))).user.id, user.id)
    // The verifier is used up with it.
    assert.ok((await client.auth.exchangeCodeForSession(query.get('code'))).error)
  })

  it('makes an account of a new address, unless told not to', async () => {
    const email = newEmail()
    refused(await gate.client().auth.signInWithOtp({ email, options: { shouldCreateUser: false } }), 'otp_disabled', 422)
    ok(await gate.client().auth.signInWithOtp({ email, options: { data: { name: 'Ada' } } }))
    const { code } = await mailbox.mail(email)
    const { user } = ok(await gate.client().auth.verifyOtp({ email, token: code, type: 'email' }))
    assert.equal(user.user_metadata.name, 'Ada')
    assert.equal(mailbox.to(email).length, 1)
  })
})

describe('resetPasswordForEmail', () => {
  it('with PKCE: the code, a session, and a new password', async () => {
    const { email, user } = await account()
    const client = pkce()
    const events = []
    client.auth.onAuthStateChange((event) => events.push(event))
    ok(await client.auth.resetPasswordForEmail(email, { redirectTo: welcome }))
    const { page, query } = await follow(gate, (await mailbox.mail(email)).link)
    assert.equal(page, welcome)
    assert.equal(ok(await client.auth.exchangeCodeForSession(query.get('code'))).user.id, user.id)
    assert.ok(events.includes('PASSWORD_RECOVERY'), `${events}`)
    ok(await client.auth.updateUser({ password: 'quite another one' }))
    refused(await gate.client().auth.signInWithPassword({ email, password }), 'invalid_credentials', 400)
    ok(await gate.client().auth.signInWithPassword({ email, password: 'quite another one' }))
  })

  it('by code and by link', async () => {
    const { email, user } = await account()
    ok(await gate.client().auth.resetPasswordForEmail(email))
    const { code } = await mailbox.mail(email)
    assert.equal(ok(await gate.client().auth.verifyOtp({ email, token: code, type: 'recovery' })).user.id, user.id)
    ok(await gate.client().auth.resetPasswordForEmail(email))
    const { link } = await mailbox.mail(email, 2)
    assert.equal((await landed(await follow(gate, link), 'recovery')).user.id, user.id)
  })

  it('says nothing of an address that nobody has, and sends nothing there', async () => {
    const nobody = newEmail()
    ok(await gate.client().auth.resetPasswordForEmail(nobody))
    const { email } = await account()
    ok(await gate.client().auth.resetPasswordForEmail(email))
    await mailbox.mail(email) // queued later, so that one to nobody would be there by now
    assert.equal(await gate.sql(`select count(*) from auth.outbox where recipient = :'nobody'`, { nobody }), '0')
    assert.deepEqual(mailbox.to(nobody), [])
  })
})

describe('a change of address', () => {
  const change = async () => {
    const { email: before, client, user } = await account()
    const after = newEmail()
    const changing = ok(await client.auth.updateUser({ email: after })).user
    assert.equal(changing.email, before)
    assert.equal(changing.new_email, after)
    return { before, after, client, user, old: await mailbox.mail(before), fresh: await mailbox.mail(after) }
  }
  const addressOf = async (client) => ok(await client.auth.getUser()).user.email

  it('by both links, the first of which changes nothing', async () => {
    const { before, after, client, user, old, fresh } = await change()
    const half = await follow(gate, fresh.link)
    assert.match(half.fragment.get('message'), /proceed to confirm link sent to the other email/)
    assert.equal(await addressOf(client), before)
    const there = await landed(await follow(gate, old.link), 'email_change')
    assert.equal(there.user.id, user.id)
    assert.equal(there.user.email, after)
    assert.equal(await addressOf(client), after)
    refused(await gate.client().auth.signInWithPassword({ email: before, password }), 'invalid_credentials', 400)
    ok(await gate.client().auth.signInWithPassword({ email: after, password }))
  })

  it('by both codes', async () => {
    const { before, after, client, old, fresh } = await change()
    const half = await gate.client().auth.verifyOtp({ email: before, token: old.code, type: 'email_change' })
    assert.equal(half.error, null)
    assert.equal(half.data.session, null)
    assert.equal(await addressOf(client), before)
    refused(await gate.client().auth.verifyOtp({ email: after, token: old.code, type: 'email_change' }), 'otp_expired', 403)
    const { user } = ok(await gate.client().auth.verifyOtp({ email: after, token: fresh.code, type: 'email_change' }))
    assert.equal(user.email, after)
    assert.equal(await addressOf(client), after)
  })

  it('is mailed again by resend', async () => {
    const { before, after, client } = await change()
    ok(await client.auth.resend({ type: 'email_change', email: before }))
    for (const address of [before, after]) await follow(gate, (await mailbox.mail(address, 2)).link)
    assert.equal(await addressOf(client), after)
  })

  it('to an address that is taken is refused', async () => {
    const { email } = await account()
    const { client } = await account()
    refused(await client.auth.updateUser({ email }), 'email_exists', 422)
  })
})

describe('reauthenticate', () => {
  it('mails the nonce that an old session needs for a new password', async () => {
    const { email, client, user } = await account()
    await gate.sql(`update auth.sessions set created_at = now() - interval '25 hours' where user_id = :'id'`, { id: user.id })
    const change = { password: 'quite another one' }
    refused(await client.auth.updateUser(change), 'reauthentication_needed', 400)
    ok(await client.auth.reauthenticate())
    const { code } = await mailbox.mail(email)
    const wrong = code === '000000' ? '000001' : '000000'
    refused(await client.auth.updateUser({ ...change, nonce: wrong }), 'reauthentication_not_valid', 422)
    ok(await client.auth.updateUser({ ...change, nonce: code }))
    ok(await gate.client().auth.signInWithPassword({ email, ...change }))
    refused(await client.auth.updateUser({ password: 'a third one', nonce: code }), 'reauthentication_not_valid', 422)
  })
})

describe('auth.admin', () => {
  it('inviteUserByEmail mails an invitation, which ends in an account with a password', async () => {
    const email = newEmail()
    const invited = ok(await gate.admin().inviteUserByEmail(email, { data: { team: 'north' }, redirectTo: welcome })).user
    assert.ok(invited.invited_at)
    const there = await follow(gate, (await mailbox.mail(email)).link)
    assert.equal(there.page, welcome)
    const { client, user } = await landed(there, 'invite')
    assert.equal(user.id, invited.id)
    assert.equal(user.user_metadata.team, 'north')
    ok(await client.auth.updateUser({ password }))
    ok(await gate.client().auth.signInWithPassword({ email, password }))
    refused(await gate.admin().inviteUserByEmail(email), 'email_exists', 422)
  })

  for (const type of ['signup', 'invite', 'magiclink', 'recovery']) {
    it(`generateLink makes links of type ${type} and mails nothing`, async () => {
      const email = type === 'signup' || type === 'invite' ? newEmail() : (await account()).email
      const request = { type, email, ...(type === 'signup' && { password }), options: { redirectTo: welcome } }
      const { properties } = ok(await gate.admin().generateLink(request))
      assert.equal(properties.verification_type, type)
      const there = await follow(gate, new URL(properties.action_link))
      assert.equal(there.page, welcome)
      assert.equal((await landed(there, type)).user.email, email)
      assert.equal(await gate.sql(`select count(*) from auth.outbox where recipient = :'email'`, { email }), '0')
    })
  }

  it('generateLink gives the code and the hash as well', async () => {
    const { email, user } = await account()
    const byCode = ok(await gate.admin().generateLink({ type: 'magiclink', email })).properties
    assert.equal(ok(await gate.client().auth.verifyOtp({ email, token: byCode.email_otp, type: 'email' })).user.id, user.id)
    const { hashed_token: token_hash } = ok(await gate.admin().generateLink({ type: 'magiclink', email })).properties
    assert.equal(ok(await gate.client().auth.verifyOtp({ token_hash, type: 'email' })).user.id, user.id)
  })

  it('generateLink makes both links of a change of address', async () => {
    const { email, user } = await account()
    const newAddress = newEmail()
    const links = [] // both first: to make one is to begin the change anew
    for (const type of ['email_change_current', 'email_change_new']) {
      links.push(ok(await gate.admin().generateLink({ type, email, newEmail: newAddress })).properties.action_link)
    }
    for (const link of links) await follow(gate, new URL(link))
    assert.equal(ok(await gate.admin().getUserById(user.id)).user.email, newAddress)
  })
})

describe('a gateway with the usual minute between mails', () => {
  it('says over_email_send_rate_limit for the second one', async () => {
    const patient = await start({ ...mailbox.env, GOTRUE_SMTP_MAX_FREQUENCY: '1m' })
    try {
      const email = newEmail()
      ok(await patient.client().auth.signUp({ email, password }))
      refused(await patient.client().auth.resend({ type: 'signup', email }), 'over_email_send_rate_limit', 429)
      await mailbox.mail(email)
    } finally {
      await patient.stop()
    }
  })
})
