// The files of examples/, run as their README says.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { folder, Reader, repository } from './documents.mjs'
import { start } from './postern.mjs'

let gate, place, reader
before(async () => {
  gate = await start()
  place = await folder()
  reader = new Reader(place.path, {
    API_URL: gate.url, ANON_KEY: gate.anonKey, SERVICE_ROLE_KEY: gate.serviceKey, DATABASE_URL: gate.databaseURL,
  })
})
after(async () => {
  await place?.remove()
  await gate?.stop()
})

const example = async (name) => readFile(join(repository, 'examples', name), 'utf8')

it('journal.sql shows each reader what the policies let them see', async () => {
  const block = { language: 'sql', place: 'examples/journal.sql', text: await example('journal.sql') }
  for (let run = 0; run < 2; run++) {
    const [[, printed]] = await reader.read([block])
    const [grace, linus, everybody] = printed.split(/^(?:Grace writes|Linus reads|Everybody reads):$/m).slice(1)
    assert.match(grace, /It was a moth/)
    assert.match(linus, /A bug in the relay/)
    assert.doesNotMatch(linus, /moth/)
    assert.match(everybody, /A bug in the relay/)
    assert.doesNotMatch(everybody, /moth/)
  }
})

it('journal.mjs lives an account through', async () => {
  const block = { language: 'js', place: 'examples/journal.mjs', text: await example('journal.mjs') }
  const [[, printed]] = await reader.read([block])
  assert.match(printed, /400 invalid_credentials/)
  assert.match(printed, /authenticated Ada, Countess of Lovelace, signed in by password/)
  assert.match(printed, /40\d user_not_found/)
})
