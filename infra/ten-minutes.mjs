// `node infra/ten-minutes.mjs`: from an empty folder to SQL over a topic of one's own, by the README alone. Reads the
// commands out of it, and runs them in their order with the package as it is packed, against a real Kafka. `--short` links
// this repository's packages instead of installing them, and needs no network.
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { startBroker } from './kafka.mjs'
import { link, pack } from './pack.mjs'
import { freePort } from './ports.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const HEADING = '## Your own topics, in ten minutes'
const READY_WITHIN_MS = 60_000
/** What the template sends: twenty orders, one of which does not fit. */
const ORDERS = 19

/** The first two blocks of commands under the heading: what one does, and what one asks in another terminal. */
export function commandsOf(readme) {
  const begin = readme.indexOf(`${HEADING}\n`)
  if (begin < 0) throw new Error(`README.md has no "${HEADING}"`)
  const section = readme.slice(begin, readme.indexOf('\n## ', begin + HEADING.length))
  const blocks = [...section.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) =>
    text
      .split('\n')
      .map((line) => line.replace(/\s+#\s.*$/, ''))
      .filter((line) => line !== ''),
  )
  const [does = [], asks = []] = blocks
  if (does.at(-1) !== 'npm start') throw new Error('the first block of commands does not end in npm start')
  if (asks.length === 0) throw new Error('there is no block of commands that ask')
  return { does: does.slice(0, -1), start: does.at(-1), asks }
}

/**
 * Stands for npm: what a clone is built by was done when the package was packed, what needs Docker is the broker that runs
 * already, and what is installed is the package. Everything else is npm's.
 */
const npmOf = ({ tarball, isShort, npm }) => `#!${process.execPath}
import { execFileSync } from 'node:child_process'
const words = process.argv.slice(2)
const said = words.join(' ')
const real = (...args) => execFileSync(${JSON.stringify(npm)}, args, { stdio: 'inherit' })
if (['ci', 'run build', 'link', 'run kafka'].includes(said)) process.exit(0)
if (said !== 'install') real(...words)
else if (${isShort}) {
  const { link } = await import(${JSON.stringify(pathToFileURL(path.join(here, 'pack.mjs')).href)})
  link(${JSON.stringify(tarball)}, process.cwd())
} else real('install', '--ignore-scripts', '--no-audit', '--no-fund', ${JSON.stringify(tarball)})
`

/** Goes through it; throws at the first command that does not do what it says. Resolves with what the answers were. */
export async function tenMinutes({ isShort, log = () => undefined }) {
  const { does, start, asks } = commandsOf(readFileSync(path.join(here, '../README.md'), 'utf8'))
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-ten-'))
  const broker = await startBroker({ heap: '384m' })
  let server
  try {
    const { tarball } = pack(folder)
    const bin = commandsIn(folder, { tarball, isShort })
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const env = {
      PATH: `${bin}:${process.env.PATH}`,
      HOME: folder,
      KAFKA_BROKERS: broker.address,
      KAPPALAKE__HTTP__PORT: String(port),
      KAPPALAKE_URL: url,
    }
    const empty = path.join(folder, 'empty')
    mkdirSync(empty)
    const shell = (script, cwd) =>
      execFileSync('/bin/sh', ['-euc', script], { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
    const said = shell([...does, 'pwd'].join('\n'), empty)
    const project = said.trim().split('\n').at(-1)
    for (const line of does) log(line)
    server = spawn('/bin/sh', ['-euc', `exec ${start}`], { cwd: project, env, stdio: 'ignore', detached: true })
    await until('the server', () => fetch(`${url}/readyz`).then(({ ok }) => ok))
    log(start)
    const answers = []
    for (const [index, line] of asks.entries()) {
      // Whoever reads asks some seconds after the start: then all is there.
      const isThere = (answer) => (index === 0 ? countOf(answer) === ORDERS : !/^\(0 rows\)$/m.test(answer))
      const ask = async () => {
        const answer = shell(line, project)
        if (!isThere(answer)) throw new Error(`not all is there:\n${answer}`)
        return answer
      }
      answers.push(await until(line, ask))
      log(line)
    }
    return answers
  } finally {
    if (server?.pid !== undefined && server.exitCode === null) process.kill(-server.pid, 'SIGKILL')
    await broker.kill()
    for (const left of [folder, broker.dir]) rmSync(left, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** A folder of the commands that the README calls: npm as above, and kappalake as it is installed. */
function commandsIn(folder, { tarball, isShort }) {
  const installed = path.join(folder, 'installed')
  mkdirSync(installed)
  link(tarball, installed)
  const bin = path.join(folder, 'bin')
  mkdirSync(bin)
  const npm = process.env.PATH.split(':')
    .map((each) => path.join(each, 'npm'))
    .find((file) => existsSync(file))
  const main = path.join(installed, 'node_modules/kappalake/dist/main.js')
  writeFileSync(path.join(bin, 'npm.mjs'), npmOf({ tarball, isShort, npm }))
  writeFileSync(path.join(bin, 'npm'), `#!/bin/sh\nexec "${process.execPath}" "${bin}/npm.mjs" "$@"\n`)
  writeFileSync(path.join(bin, 'kappalake'), `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`)
  for (const name of ['npm', 'kappalake']) chmodSync(path.join(bin, name), 0o755)
  chmodSync(main, 0o755)
  return bin
}

/** Sum of the second column, which the README asks for as n. */
function countOf(answer) {
  const counts = [...answer.matchAll(/^\w+ +(\d+) /gm)].map(([, count]) => Number(count))
  return counts.reduce((sum, count) => sum + count, 0)
}

async function until(what, look) {
  let reason
  for (const startedMs = performance.now(); performance.now() - startedMs < READY_WITHIN_MS; await sleep(200)) {
    const found = await look().catch((error) => void (reason = error))
    if (found !== undefined && found !== false) return found
  }
  throw new Error(`${what}: not within ${READY_WITHIN_MS} ms`, { cause: reason })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const startedMs = performance.now()
  const isShort = process.argv.includes('--short')
  const [first] = await tenMinutes({ isShort, log: (text) => console.log(`✓ ${text}`) })
  console.log(`${first}in ${Math.round((performance.now() - startedMs) / 1000)} s, by the README alone`)
}
