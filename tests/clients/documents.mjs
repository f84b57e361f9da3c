// Runs what the documentation says. Fenced blocks of a page are executed in their order, as one reader would: `sh` in a
// shell that keeps its variables, `sql` in psql on DATABASE_URL, `js` in Node; `text` is what the block before it prints.
// Blocks without a language are left alone. `postern serve` at the end of a block goes on in the background.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { patience } from './postern.mjs'

export const repository = resolve(import.meta.dirname, '../..')

/** folder makes a temporary folder that user postgres may enter too. */
export async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'postern-documents-'))
  await chmod(path, 0o755)
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

/** blocks reads the fenced blocks of a page, or of its section with that heading. */
export async function blocks(page, heading = '') {
  const lines = (await readFile(join(repository, page), 'utf8')).split('\n')
  const found = []
  let inside = heading === ''
  let open = null
  for (const [index, line] of lines.entries()) {
    const fence = line.match(/^```(\w*)$/)
    if (fence && open) {
      if (inside) found.push({ ...open, text: open.lines.join('\n') })
      open = null
    } else if (fence) {
      open = { language: fence[1], place: `${page}:${index + 2}`, lines: [] }
    } else if (open) {
      open.lines.push(line)
    } else if (heading && line.startsWith('## ')) {
      inside = line === `## ${heading}`
    }
  }
  return found
}

/** Reader executes blocks in a folder, with variables that its sh blocks may change. */
export class Reader {
  constructor(path, environment) {
    this.path = path
    this.environment = {
      HOME: path, LC_ALL: 'C', PSQLRC: '/dev/null', PAGER: 'cat',
      PATH: `${dirname(process.env.POSTERN)}:${dirname(process.execPath)}:${process.env.PATH}`,
      ...environment,
    }
  }

  /** read executes the blocks and returns a list of [block, what it printed, what the page says it prints]. */
  async read(list) {
    const printed = []
    for (const block of list) {
      if (block.language === 'text') printed.at(-1)[2] = comparable(block.text)
      else if (block.language) printed.push([block, comparable(await this.execute(block)), null])
    }
    return printed
  }

  async execute(block) {
    switch (block.language) {
      case 'sh':
        return block.text.endsWith('postern serve') ? this.serve(block) : this.shell(block)
      case 'sql':
        return this.run(block, 'psql', ['-qX', '-v', 'ON_ERROR_STOP=1', this.environment.DATABASE_URL], block.text)
      case 'js':
        return this.script(block)
      default:
        throw new Error(`${block.place}: blocks of ${block.language} cannot be executed`)
    }
  }

  /** shell runs a block in the one shell that lives as long as the reader, and learns what it exported. */
  async shell(block) {
    this.sh ??= this.openShell()
    await writeFile(join(this.path, '.block'), `${block.text}\nenv -0 > .variables\n`)
    const done = `done-${randomUUID()}`
    const output = await new Promise((resolve, reject) => {
      this.sh.finish = (error, text) => (error ? reject(new Error(`${block.place}: ${error}\n${text}`)) : resolve(text))
      this.sh.done = done
      this.sh.stdin.write(`. ./.block </dev/null; echo; echo ${done}\n`)
    })
    const variables = await readFile(join(this.path, '.variables'), 'utf8')
    this.environment = Object.fromEntries(
      variables.split('\0').filter(Boolean).map((entry) => entry.split(/=(.*)/s).slice(0, 2)),
    )
    return output
  }

  openShell() {
    const sh = spawn('sh', ['-eu'], { cwd: this.path, env: this.environment, stdio: 'pipe' })
    let text = ''
    const take = (data) => {
      text += data
      if (!sh.done || !text.includes(`${sh.done}\n`)) return
      sh.finish(null, text.split(sh.done)[0])
      text = ''
    }
    sh.stdout.on('data', take)
    let complaints = ''
    sh.stderr.on('data', (data) => (complaints += data))
    sh.once('exit', (code) => sh.finish?.(`the shell ended with status ${code}`, text + complaints))
    return sh
  }

  /** script runs JavaScript where the packages of the tests are found. */
  async script(block) {
    const file = join(import.meta.dirname, `.document-${process.pid}.mjs`)
    await writeFile(file, block.text)
    try {
      return await this.run(block, process.execPath, [file])
    } finally {
      await rm(file)
    }
  }

  async serve(block) {
    // A group of its own, so that the gateway ends with its shell.
    const child = spawn('sh', ['-euc', block.text], {
      cwd: this.path, env: this.environment, stdio: ['ignore', 'ignore', 'pipe'], detached: true,
    })
    const kill = () => process.kill(-child.pid, 'SIGTERM')
    process.once('exit', kill)
    const exited = new Promise((done) => child.once('exit', done))
    exited.then(() => process.off('exit', kill))
    let log = ''
    child.stderr.on('data', (data) => (log += data))
    this.stop = async () => {
      if (child.exitCode === null) kill()
      await exited
    }
    const deadline = Date.now() + patience
    while (!log.includes('"listening"')) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`${block.place}: no gateway:\n${log}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return ''
  }

  /** stop ends the gateway that a block started. */
  stop = async () => {}

  /** close ends everything that the blocks started. */
  async close() {
    await this.stop()
    this.sh?.stdin.end()
  }

  run(block, program, parameters, input = '') {
    return new Promise((resolve, reject) => {
      const child = execFile(
        program, parameters, { cwd: this.path, env: this.environment, timeout: patience },
        (error, stdout, stderr) => {
          if (error) reject(new Error(`${block.place}: ${error.message}\n${stdout}${stderr}`))
          else resolve(stdout)
        },
      )
      child.stdin.end(input)
    })
  }
}

/** keeps has a reader execute blocks, and compares what they print with what the page says. */
export async function keeps(reader, list) {
  try {
    for (const [block, printed, promised] of await reader.read(list)) {
      if (promised !== null) assert.equal(printed, promised, block.place)
    }
  } finally {
    await reader.close()
  }
}

/** comparable leaves out what differs from run to run and what nobody sees. */
function comparable(text) {
  return text
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '(an id)')
    .split('\n').map((line) => line.trimEnd()).filter(Boolean).join('\n')
}
