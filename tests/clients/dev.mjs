// `postern dev` as somebody runs it, in a folder.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { patience } from './postern.mjs'

/** startDev returns once it runs: what it printed, and stop, which presses Ctrl-C and returns its exit status. */
export async function startDev(folder, env = {}) {
  const child = spawn(process.env.POSTERN, ['dev'], {
    cwd: folder, env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'inherit'],
  })
  process.once('exit', () => child.kill('SIGTERM'))
  const exited = new Promise((resolve) => child.once('exit', resolve))
  let sheet = ''
  child.stdout.on('data', (data) => (sheet += data))
  const deadline = Date.now() + patience
  while (!sheet.includes('Try next')) {
    assert.ok(child.exitCode === null && Date.now() < deadline, `postern dev did not start:\n${sheet}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    sheet,
    stop: () => {
      child.kill('SIGINT')
      return exited
    },
  }
}
