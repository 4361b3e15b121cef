// `npm test`: everything, in a fresh clone too. Installs packages and real parts, checks, tests, simulates, and ends
// with one line `<n> passed, <n> failed`. Runs with nothing but Node: no package is imported before it is installed.
import { spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const totals = { passed: 0, failed: 0 }
/** What failed, by name: said again at the end, where a reader of a long log looks. */
const failures = []

/** Niceness of what runs beside other tests. */
const BESIDE = 5

/** Runs a command to its end with its output passed on; resolves with the exit code. */
function run(command, args, env = {}, out = 'inherit') {
  return new Promise((resolve) => {
    const stdio = ['inherit', out, out === 'inherit' ? 'inherit' : out]
    const child = spawn(command, args, { cwd: root, stdio, env: { ...process.env, ...env } })
    child.on('error', () => resolve(127))
    child.on('exit', (code) => resolve(code ?? 1))
    if (out !== 'inherit' && child.pid !== undefined) os.setPriority(child.pid, BESIDE)
  })
}

/** The same beside other tests, which go first and are waiting half of the time. Prints all of its output at its end. */
async function runBeside(command, args, env) {
  const file = join(root, '.cache/beside.log')
  const out = openSync(file, 'w')
  const code = await run(command, args, env, out)
  closeSync(out)
  process.stdout.write(readFileSync(file))
  return code
}

async function need(what, command, args) {
  if ((await run(command, args)) === 0) return
  console.log(`✗ ${what} failed; nothing was tested`)
  console.log('0 passed, 1 failed')
  process.exit(1)
}

async function step(name, command, args, env, runIt = run) {
  const startedMs = performance.now()
  console.log(`\n── ${name}: ${[command, ...args].join(' ')}`)
  const isOk = (await runIt(command, args, env)) === 0
  totals[isOk ? 'passed' : 'failed']++
  if (!isOk) failures.push(name)
  console.log(`${isOk ? '✓' : '✗'} ${name} (${Math.round((performance.now() - startedMs) / 1000)} s)`)
}

/** A vitest project; counts its tests, and one failure when it ended without a report. */
async function tests(project, runIt = run) {
  const report = join(root, `.cache/report-${project}.json`)
  rmSync(report, { force: true })
  console.log(`\n── ${project} tests`)
  const args = ['vitest', 'run', '--project', project, '--reporter=default', '--reporter=json']
  const code = await runIt('npx', [...args, `--outputFile.json=${report}`], { KAPPALAKE_BUILT: '1' })
  if (!existsSync(report)) {
    failures.push(`${project} tests: no report`)
    return void totals.failed++
  }
  const { numPassedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'))
  totals.passed += numPassedTests
  // Nothing is skipped silently: a skipped test is a failed one, and so is a file that did not load.
  const bad = testResults.flatMap((file) => badTests(file))
  if (bad.length === 0 && code !== 0) bad.push(`${project} tests: exit code ${code}`)
  failures.push(...bad)
  totals.failed += bad.length
}

function badTests({ name, status, message, assertionResults }) {
  const file = relative(root, name)
  const bad = assertionResults.filter((test) => test.status !== 'passed')
  if (bad.length === 0 && status === 'failed') return [`${file}: ${message.split('\n')[0]}`]
  return bad.map((test) => `${file}: ${test.fullName} (${test.status}) ${reasonOf(test.failureMessages[0] ?? '')}`)
}

/** What a failure says, without where it was thrown: the way there is long, and the reason may stand in its middle. */
function reasonOf(message) {
  const lines = message.split('\n').filter((line) => line.trim() !== '' && !/^\s+at /.test(line))
  return lines.slice(0, 20).join('\n      ').slice(0, 3_000)
}

/** What needs nothing but processors, one after the other. */
async function computed() {
  await tests('engine', runBeside)
  await step('simulation', process.execPath, ['infra/sim.mjs'], { SEEDS: '1..400' }, runBeside)
}

if (!existsSync(join(root, 'node_modules/.package-lock.json')))
  await need('npm ci', 'npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'])
await need('the installation of real parts', process.execPath, ['infra/setup.mjs'])
await need('the build', process.execPath, ['infra/build.mjs'])

await step('types', 'npx', ['tsc'])
await step('lint', 'npx', ['oxlint'])
await step('format', 'npx', ['oxfmt', '--check', '.'])
await tests('fast')
await Promise.all([tests('real'), computed()])
await step('demo against its ledger', process.execPath, ['infra/demo.mjs', '--ci', '--data', '.cache/demo-ci'])
await step('ten minutes by the README', process.execPath, ['infra/ten-minutes.mjs', '--short'])
await step('kills and takeovers', process.execPath, ['infra/soak.mjs'])
await step('change streams', process.execPath, ['infra/e2e-cdc.mjs'])
await step('windows', process.execPath, ['infra/e2e-windows.mjs'])
await step('transforms', process.execPath, ['infra/e2e-transforms.mjs'])
await step('the open door', process.execPath, ['infra/e2e-hostile.mjs', '--ci'])
await step('replays', process.execPath, ['infra/e2e-p10.mjs', '--only', 'new', '--records', '1500'])

if (failures.length > 0) console.log(`\nFailed:\n${failures.map((line) => `  ✗ ${line}`).join('\n')}`)
console.log(`\n${totals.passed} passed, ${totals.failed} failed`)
process.exit(totals.failed === 0 ? 0 : 1)
