// The README's walk, executed against what `make run` starts: every block prints what the page says.
import assert from 'node:assert/strict'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, it } from 'node:test'
import { startDev } from './dev.mjs'
import { blocks, folder, keeps, Reader } from './documents.mjs'
import { databaseURL, emptyDatabase, sql } from './postern.mjs'

let place, dev
before(async () => {
  place = await folder()
  dev = await startDev(place.path) // what `make run` does, after building
})
after(async () => {
  await dev?.stop()
  await place?.remove()
})

it('make run prints where everything is, and leaves it in .postern/dev.env', async () => {
  const file = join(place.path, '.postern/dev.env')
  const lines = (await readFile(file, 'utf8')).trim().split('\n')
  assert.deepEqual(lines.map((line) => line.split('=')[0]), ['API_URL', 'DATABASE_URL', 'ANON_KEY', 'SERVICE_ROLE_KEY'])
  for (const line of lines) assert.ok(dev.sheet.includes(line.split(/=(.*)/s)[1].replaceAll("'", '')), line)
  assert.equal((await stat(file)).mode & 0o077, 0, 'nobody else reads the secrets')
})

it('five minutes: sign up, see the rows and a mail, write a policy, watch it hold', async () => {
  const list = await blocks('README.md', 'Five minutes')
  assert.deepEqual(list.map((block) => block.language).join(' '), 'sh text sh text sh sh text js text')
  await keeps(new Reader(place.path), list)
})

it('the three lines that make run prints work', async () => {
  const lines = dev.sheet.split('in another terminal:')[1].trim()
  const reader = new Reader(place.path)
  // Ada has an account since the walk.
  const text = lines.replace('ada@example.com', 'eve@example.com')
  assert.equal(text.split('\n').length, 3)
  const [[, printed]] = await reader.read([{ language: 'sh', place: 'postern dev', text }])
  await reader.close()
  assert.match(printed, /access_token/)
  assert.match(printed, /eve@example\.com/)
})

it('Ctrl-C stops what was started', async () => {
  const { DATABASE_URL } = Object.fromEntries(
    (await readFile(join(place.path, '.postern/dev.env'), 'utf8')).trim().split('\n').map((line) => line.split(/=(.*)/s)),
  )
  assert.equal(await dev.stop(), 0)
  await assert.rejects(sql(DATABASE_URL.replaceAll("'", ''), 'select 1'), /Connection refused|could not connect/)
})

it('an existing database: migrate, and a password for the gateway', async () => {
  const database = await emptyDatabase()
  const reader = new Reader(place.path, { DATABASE_URL: databaseURL(database.name) })
  try {
    await keeps(reader, await blocks('README.md', 'An existing database'))
    const password = await sql(databaseURL(database.name), `select rolpassword is not null from pg_authid where rolname = 'postern_gateway'`)
    assert.equal(password, 't')
  } finally {
    await reader.close()
    await database.drop()
  }
})
