// A Postern of its own for each test file: a database, migrated by the binary under test, and a gateway that serves it as
// postern_gateway. POSTERN is the binary; POSTERN_TEST_DATABASE_URL is a superuser's URL of a throw-away server, both
// set by `make test-clients`.
import { execFile, spawn } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { createClient } from '@supabase/supabase-js'

const run = promisify(execFile)

/** patience bounds every wait of a test, in milliseconds. */
export const patience = 30_000

export const password = 'correct horse battery'

const serverURL = new URL(needed('POSTERN_TEST_DATABASE_URL'))
const binary = needed('POSTERN')

function needed(name) {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: run these tests with \`make test-clients\``)
  return value
}

/** postern runs a command of the binary with nothing but the given variables and returns what it prints. */
export async function postern(args, env = {}) {
  const { stdout } = await run(binary, args, { env: { PATH: process.env.PATH, ...env } })
  return stdout
}

/** sql runs statements in psql and returns rows as text, one per line, columns separated by `|`. */
export async function sql(url, text, variables = {}) {
  const settings = Object.entries(variables).flatMap(([name, value]) => ['-v', `${name}=${value}`])
  const child = run('psql', ['-XAtq', '-v', 'ON_ERROR_STOP=1', ...settings, url])
  child.child.stdin.end(text)
  const { stdout } = await child
  return stdout.trimEnd()
}

/** databaseURL names a database of the server, for the superuser or for another role. */
export function databaseURL(database, role = '') {
  const url = new URL(serverURL)
  url.pathname = `/${database}`
  if (role) url.username = role
  return url.href
}

/** emptyDatabase makes one and returns its name and a function that drops it. */
export async function emptyDatabase() {
  const name = `clients_${randomBytes(6).toString('hex')}`
  await sql(serverURL.href, `create database ${name} template template0`)
  return { name, drop: () => sql(serverURL.href, `drop database if exists ${name} with (force)`) }
}

/** start brings up a database and a gateway. Variables in env win over those here. */
export async function start(env = {}) {
  const database = await emptyDatabase()
  const superURL = databaseURL(database.name)
  try {
    await postern(['migrate'], { DATABASE_URL: superURL })
    if (serverURL.password) {
      // On a server that asks for passwords all roles of the tests share the superuser's.
      await sql(superURL, `alter role postern_gateway password :'password';`, {
        password: decodeURIComponent(serverURL.password),
      })
    }
    return await serve(database, env)
  } catch (error) {
    await database.drop()
    throw error
  }
}

async function serve(database, env) {
  const environment = {
    DATABASE_URL: databaseURL(database.name, 'postern_gateway'),
    GOTRUE_API_HOST: '127.0.0.1',
    PORT: '0',
    API_EXTERNAL_URL: 'http://auth.example.com',
    GOTRUE_SITE_URL: 'http://app.example.com',
    GOTRUE_JWT_SECRET: randomBytes(32).toString('hex'),
    GOTRUE_JWT_AUD: 'authenticated',
    GOTRUE_JWT_DEFAULT_GROUP_NAME: 'authenticated',
    GOTRUE_MAILER_AUTOCONFIRM: 'true',
    GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED: 'true',
    GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL: '10',
    ...env,
  }
  const keys = JSON.parse(await postern(['keys', 'api', '--json'], environment))
  const { child, address } = await listen(environment)
  const url = `http://${address}`
  return {
    url,
    secret: environment.GOTRUE_JWT_SECRET,
    anonKey: keys.ANON_KEY,
    serviceKey: keys.SERVICE_ROLE_KEY,
    databaseURL: databaseURL(database.name),
    sql: (text, variables) => sql(databaseURL(database.name), text, variables),
    /** client is what an application makes; it keeps its session in memory. */
    client: (auth = {}) =>
      createClient(url, keys.ANON_KEY, { auth: { autoRefreshToken: false, persistSession: false, ...auth } }),
    /** admin is what an application's server makes. */
    admin: () =>
      createClient(url, keys.SERVICE_ROLE_KEY, { auth: { autoRefreshToken: false, persistSession: false } }).auth.admin,
    async stop() {
      const code = await ended(child)
      await database.drop()
      if (code !== 0) throw new Error(`the gateway ended with status ${code}`)
    },
  }
}

/** listen starts the gateway and returns when its log says where it listens. */
async function listen(environment) {
  const child = spawn(binary, ['serve'], { env: environment, stdio: ['ignore', 'inherit', 'pipe'] })
  process.once('exit', () => child.kill('SIGKILL')) // a test file that ends early leaves no gateway behind
  const lines = createInterface({ input: child.stderr })
  const address = await new Promise((resolve, reject) => {
    let log = ''
    lines.on('line', (line) => {
      log += `${line}\n`
      if (line.includes('"listening"')) resolve(JSON.parse(line).address)
    })
    child.once('exit', (code) => reject(new Error(`the gateway ended with status ${code}:\n${log}`)))
  })
  return { child, address }
}

async function ended(child) {
  if (child.exitCode === null) {
    const exit = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    await exit
  }
  return child.exitCode
}

/** ok returns the data of an answer that must not be an error. */
export function ok({ data, error }) {
  if (error) throw error
  return data
}

let people = 0

/** newEmail is an address that nobody has yet. */
export const newEmail = () => `person-${++people}@example.com`

/** claimsOf verifies an HS256 access token, as PostgREST does, and returns its claims. */
export function claimsOf(token, secret) {
  const [head, body, signature] = token.split('.')
  const expected = createHmac('sha256', secret).update(`${head}.${body}`).digest('base64url')
  if (signature !== expected) throw new Error('the signature is not that of the secret')
  const claims = JSON.parse(Buffer.from(body, 'base64url'))
  if (claims.exp * 1000 < Date.now()) throw new Error('the token has expired')
  return claims
}

/**
 * asPostgREST runs statements the way PostgREST runs a request: as authenticator, which takes the role that the token
 * names (anon without one), with the claims in request.jwt.claims.
 */
export async function asPostgREST(gate, token, text) {
  const claims = token ? claimsOf(token, gate.secret) : { role: 'anon' }
  return gate.sql(
    `set session authorization authenticator;
     begin;
     select set_config('role', :'role', true), set_config('request.jwt.claims', :'claims', true) \\g /dev/null
     ${text};
     commit;`,
    { role: claims.role, claims: JSON.stringify(claims) },
  )
}
