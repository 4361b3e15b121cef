// `npm run screens`: what people see. Runs the command line against a demo under a pseudo terminal, and draws what it
// shows: .cache/screens/*.png to look at (needs Python with Pillow, which it installs there), and the few that documents
// show, docs/screens/*.svg. `npm run screens -- tables query` draws those alone.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from './ports.mjs'
import { BACKGROUND, FOREGROUND, PALETTE, svgOf } from './screens/picture.mjs'
import { shownLines } from './screens/terminal.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const pictures = path.join(root, '.cache/screens')
const documents = path.join(root, 'docs/screens')
const python = path.join(root, '.cache/pillow/bin/python')
const main = path.join(root, 'dist/main.js')
const COLUMNS = 100
/** Where the demo says that it is. */
const PORT = '7780'

const BROKEN = `kafka:
  brokers: [localhost:9092]
store:
  url: file:./lake
pipelines:
  shop:
    tables:
      orders:
        from: { topic: shop.orders }
        columns:
          orderId: string required
          amount: decimall(12,2)
          updatedAt: timestamptz(ms)
        key: [orderID]
        eventTime: { column: updatedAt, outOfOrdernes: 5s }
`
const SQL = `SELECT status, count(*) n, sum(amount) revenue FROM orders GROUP BY 1`

/** Name, words after `kappalake`; `until`: the part of what it wrote that is drawn; `isShown`: documents show it. */
const SCREENS = [
  { name: 'help', words: ['--help'] },
  { name: 'doctor', words: ['doctor', '-c', 'kappalake.yaml'], isShown: true },
  { name: 'config-error', words: ['start', '-c', 'broken.yaml'], isShown: true },
  { name: 'config-print', words: ['config', 'print', '-c', 'kappalake.yaml'] },
  { name: 'wrong-command', words: ['tabels'] },
  { name: 'wrong-option', words: ['query', '--as-off', '12', 'SELECT 1'] },
  { name: 'init', words: ['init', 'made'] },
  { name: 'tables', words: ['tables'] },
  { name: 'pipelines', words: ['pipelines'] },
  { name: 'query', words: ['query', SQL] },
  { name: 'query-wide', words: ['query', 'FROM orders LIMIT 2'] },
  { name: 'query-error', words: ['query', 'SELECT count(*) FROM ordrs'] },
  { name: 'windows', words: ['windows', 'revenue_1m', '--limit', '8'] },
  { name: 'versions', words: ['versions', 'shop', '--limit', '8'] },
  { name: 'dead-letters', words: ['dlq', 'list', 'shop', '--limit', '5'] },
  { name: 'dead-letter', words: ['dlq', 'show', 'shop', 'shop.customers/0@73'] },
  { name: 'snapshots', words: ['snapshots', 'orders', '--limit', '5'] },
  { name: 'compact', words: ['compact', 'orders'] },
  { name: 'jobs', words: ['jobs'] },
  { name: 'diff', words: ['diff', 'orders', '60', '--limit', '12'] },
  {
    name: 'replay-watch',
    words: ['replay', 'start', 'shop', '--mode', 'verify', '--rate-limit', '15000', '--watch'],
    until: /█{9,}░[░ \w,.%/]*/,
    isShown: true,
  },
  { name: 'replay-list', words: ['replay', 'list'] },
  { name: 'verify', words: ['verify', 'shop'], isShown: true },
  { name: 'no-server', words: ['tables', '--url', 'http://127.0.0.1:7781'] },
]

const wanted = process.argv.slice(2)
const chosen = SCREENS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-screens-'))
const color = { TERM: 'xterm-256color', LC_ALL: 'C.UTF-8', NO_COLOR: undefined, CI: undefined, FORCE_COLOR: undefined }
// Somebody may use the port of every demo.
const port = String(await freePort())
const environment = { ...process.env, ...color, KAPPALAKE_URL: `http://127.0.0.1:${port}` }

/** A command under a pseudo terminal; `wrote` is called with all that it wrote so far. */
function underTerminal(words, wrote = () => undefined) {
  const command = `stty cols ${COLUMNS} rows 40; exec ${[process.execPath, main, ...words].map(quoted).join(' ')}`
  const child = spawn('script', ['-qfec', command, '/dev/null'], {
    cwd: folder,
    env: environment,
    stdio: ['pipe', 'pipe', 2],
  })
  let bytes = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    bytes += text
    wrote(bytes)
  })
  const ended = new Promise((resolve) => void child.on('close', () => resolve(bytes)))
  return { child, ended }
}

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/** As somebody would see it whose port is free, and whose folder has a name; as long, so that lines break where they did. */
function asAtHome(bytes) {
  return bytes.replaceAll(`127.0.0.1:${port}`, `127.0.0.1:${PORT}`).replaceAll(folder, '/home/ada/projects/lakes/shop')
}

function draw(name, words, bytes, isShown) {
  const prompt = [
    { text: '$ ', color: 2, bold: true, dim: false },
    { text: `kappalake ${words.map(quoted).join(' ')}`, bold: true, dim: false },
  ]
  const lines = [prompt, ...shownLines(asAtHome(bytes), COLUMNS)]
  const input = JSON.stringify({ lines, background: BACKGROUND, foreground: FOREGROUND, palette: PALETTE })
  execFileSync(python, [path.join(root, 'infra/screens/png.py'), path.join(pictures, `${name}.png`)], { input })
  if (isShown === true) writeFileSync(path.join(documents, `${name}.svg`), svgOf(lines, `kappalake ${words.join(' ')}`))
  console.log(`✓ ${name}`)
}

mkdirSync(pictures, { recursive: true })
mkdirSync(documents, { recursive: true })
if (!existsSync(python)) {
  execFileSync('python3', ['-m', 'venv', path.join(root, '.cache/pillow')])
  execFileSync(python, ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', 'pillow==11.3.0'])
}
execFileSync(process.execPath, ['infra/build.mjs'], { cwd: root })
writeFileSync(path.join(folder, 'broken.yaml'), BROKEN)
writeFileSync(
  path.join(folder, 'kappalake.yaml'),
  BROKEN.replace('decimall', 'decimal')
    .replace('orderID', 'orderId')
    .replace('outOfOrdernes:', 'outOfOrderness:')
    .replace('localhost:9092', 'localhost:9'),
)

let ready
const isReady = new Promise((resolve) => (ready = resolve))
const words = ['demo', '--data', 'demo', '--port', port]
let first
const demo = underTerminal(words, (bytes) => {
  if (!/ready|rec\/s|lag/.test(bytes)) return
  first = bytes
  ready()
})
try {
  await Promise.race([isReady, demo.ended.then((bytes) => Promise.reject(new Error(`the demo ended:\n${bytes}`)))])
  // So that windows are final and there is something to be seen.
  await new Promise((resolve) => setTimeout(resolve, 20_000))
  draw('demo', ['demo'], first, false)
  for (const { name, words: given, until, isShown } of chosen) {
    let part
    const bytes = await underTerminal(given, (text) => {
      const found = until?.exec(text)
      if (found) part ??= text.slice(0, found.index + found[0].length)
    }).ended
    if (part !== undefined) {
      draw(name, given, part, isShown)
      draw(`${name}-end`, given, bytes)
    } else draw(name, given, bytes, isShown)
  }
} finally {
  demo.child.stdin.write('\u0003')
  const killing = setTimeout(() => demo.child.kill('SIGKILL'), 20_000)
  const bytes = await demo.ended
  clearTimeout(killing)
  draw('demo-end', ['demo'], bytes)
  rmSync(folder, { recursive: true, force: true })
}
