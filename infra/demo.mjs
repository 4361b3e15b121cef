// `npm run demo`: needs nothing but Node. Installs the packages when they are missing, builds, and runs the demo in this
// very process, so that a signal (or kill -9) meets the demo and not a wrapper around it.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const { engines } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
const needed = engines.node.replace('>=', '').split('.').map(Number)
const [major, minor] = process.versions.node.split('.').map(Number)

if (major < needed[0] || (major === needed[0] && minor < (needed[1] ?? 0))) {
  console.error(`✗ Node.js ${process.versions.node} is too old: install Node.js ${needed.join('.')} or newer.`)
  process.exit(3)
}
// npm writes this file when an installation is complete.
if (!existsSync(path.join(root, 'node_modules/.package-lock.json'))) {
  console.error('· installing packages (npm ci), once')
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const { status, error } = spawnSync(npm, ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    // Standard output belongs to the demo: --ci prints its verdict there.
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  })
  if (status !== 0) {
    console.error(`✗ npm ci failed${error === undefined ? '' : ` (${error.message})`}: see above, then try again.`)
    process.exit(1)
  }
}
process.chdir(root)
const { bundle } = await import('./build.mjs')
await bundle(path.join(root, 'dist'))
const main = path.join(root, 'dist/main.js')
process.argv = [process.execPath, main, 'demo', ...process.argv.slice(2)]
await import(main)
