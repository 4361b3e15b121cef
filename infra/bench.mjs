// `npm run bench [-- names…] [--peer flink] [--keys 1000000,10000000]`: builds, installs what the benchmarks need, runs them one after the other,
// and passes on their figures, one JSON line each. The last line is PASS or FAIL, and the exit code says the same.
// Runs with nothing but Node: no package is imported before it is installed.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
/** Cheapest first: a broken build is known soon. */
const BENCHMARKS = [
  'record-batch',
  'json-decoder',
  'gate',
  'transforms',
  'publish',
  'avro',
  'commit',
  'keyed-commit',
  'query-deletes',
  'embed',
  'append',
  'upsert',
  'windows',
  'replay',
]
const LIMIT_MS = 15 * 60_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { peer: { type: 'string' }, keys: { type: 'string' } },
})
const names = positionals.length === 0 ? BENCHMARKS : positionals
const unknown = names.find((name) => !BENCHMARKS.includes(name))
if (unknown !== undefined) end(2, `bench: no benchmark ${unknown}; there are ${BENCHMARKS.join(', ')}`)
/** What one benchmark alone understands. */
const OPTIONS = { append: { peer: values.peer }, upsert: { keys: values.keys } }
if (values.keys !== undefined && !/^\d+(,\d+)*$/.test(values.keys))
  end(2, `bench: --keys are numbers with commas between, such as 1000000,10000000; not ${values.keys}`)
if (values.peer !== undefined && values.peer !== 'flink') end(2, `bench: no peer ${values.peer}; there is flink`)

process.chdir(root)
const deadlineMs = performance.now() + LIMIT_MS
if (!existsSync('node_modules/.package-lock.json')) install()
const { bundleProgram } = await import('./bundle.mjs')
const { bundle } = await import('./build.mjs')
if (['append', 'upsert', 'windows', 'replay'].some((name) => names.includes(name)))
  setUp(['kafka', ...(values.peer === undefined ? [] : [values.peer])])
await bundle('dist')
let isOk = true
for (const name of names) isOk = (await run(name)) && isOk
end(isOk ? 0 : 1)

/** Whether it ended well, gave at least one figure, and all figures hold. */
async function run(name) {
  const script = await scriptOf(name)
  const options = Object.entries(OPTIONS[name] ?? {}).flatMap(([option, value]) =>
    value === undefined ? [] : [`--${option}`, value],
  )
  const child = spawn(process.execPath, [script, ...options], { stdio: ['ignore', 'pipe', 'inherit'] })
  const timer = setTimeout(() => child.kill('SIGTERM'), Math.max(1_000, deadlineMs - performance.now()))
  const exited = new Promise((resolve) => child.once('close', resolve))
  const figures = []
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('{')) continue
    figures.push(JSON.parse(line))
    console.log(line)
  }
  const code = await exited
  clearTimeout(timer)
  if (figures.length === 0) console.error(`bench: ${name} gave no figure (exit code ${code})`)
  return code === 0 && figures.length > 0 && figures.every(({ pass }) => pass === true)
}

/** A benchmark is a script, or TypeScript that is bundled next to the packages it imports. */
async function scriptOf(name) {
  const script = path.join(root, `bench/${name}.mjs`)
  if (existsSync(script)) return script
  return bundleProgram(`bench/${name}.ts`, `dist/bench/${name}.mjs`)
}

function install() {
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  if (spawnSync('npm', args, { stdio: ['ignore', 2, 2] }).status !== 0) end(1, 'bench: npm ci failed')
}

function setUp(parts) {
  if (spawnSync(process.execPath, ['infra/setup.mjs', ...parts], { stdio: ['ignore', 2, 2] }).status !== 0) end(1)
}

function end(code, reason) {
  if (reason !== undefined) console.error(reason)
  console.log(code === 0 ? 'PASS' : 'FAIL')
  process.exit(code)
}
