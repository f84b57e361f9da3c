// A real Chromium, and the application that links lead to.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'

// The packages of all tests are installed once, beside those of the clients.
const fromClients = createRequire(new URL('../clients/package.json', import.meta.url))
const { chromium } = fromClients('playwright-core')

const program = process.env.CHROMIUM
if (!program) throw new Error('CHROMIUM is not set: run these tests with `make test-browser`')

/** openBrowser starts it, without a window. hosts maps names to the host and port that answer for them. */
export async function openBrowser(hosts = {}) {
  const rules = Object.entries(hosts).map(([name, address]) => `MAP ${name} ${address}`)
  return chromium.launch({
    executablePath: program,
    args: [
      '--no-sandbox', // it does not start as root with one
      '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      `--host-resolver-rules=${rules.join(', ')}`,
    ],
  })
}

const page = await readFile(new URL('app.html', import.meta.url), 'utf8')
const supabase = await readFile(fromClients.resolve('@supabase/supabase-js').replace(/dist.*/, 'dist/umd/supabase.js'), 'utf8')

/** openApp serves app.html with supabase-js, at /implicit and /pkce; settings is read when a page is asked for. */
export async function openApp(settings = {}) {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://app')
    const known = {
      '/supabase.js': ['text/javascript', supabase],
      '/settings.js': ['text/javascript', `const settings = ${JSON.stringify(settings)}`],
      '/implicit': ['text/html', page],
      '/pkce': ['text/html', page],
    }[pathname]
    response.writeHead(known ? 200 : 404, { 'content-type': `${known?.[0] ?? 'text/plain'}; charset=utf-8`, 'cache-control': 'no-store' })
    response.end(known?.[1] ?? 'no such page')
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}
