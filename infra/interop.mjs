// `npm run interop`: PyIceberg, DuckDB's own Iceberg extension and the Java reference implementation read tables that we
// wrote, cell by cell, at every snapshot and under predicates, and versions of keyed tables while stream, compaction and
// expiry go on; with `-- --spark` Apache Spark too, with `-- --trino` Trino by the REST catalog. Installs the readers when they are missing. Prints one JSON line a
// figure, then PASS or FAIL.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const figuresFile = join(root, '.cache/interop.ndjson')
const isWithSpark = process.argv.includes('--spark')
const isWithTrino = process.argv.includes('--trino')
const readers = ['pyiceberg', 'duckdb', 'java', ...(isWithSpark ? ['spark'] : [])]

function run(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } })
    child.on('error', () => resolve(127))
    child.on('exit', (code) => resolve(code ?? 1))
  })
}

/** What each reader found equal, summed over all tables. */
function figures() {
  const sums = new Map()
  const lines = existsSync(figuresFile) ? readFileSync(figuresFile, 'utf8').split('\n').filter(Boolean) : []
  for (const { what, reader, value } of lines.map((line) => JSON.parse(line)))
    sums.set(`${what} ${reader}`, (sums.get(`${what} ${reader}`) ?? 0) + value)
  return sums
}

mkdirSync(dirname(figuresFile), { recursive: true })
rmSync(figuresFile, { force: true })
let isOk = true
if (!existsSync(join(root, 'node_modules/.package-lock.json')))
  isOk = (await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'])) === 0
const parts = [
  'python',
  'java-reader',
  ...(isWithSpark ? ['spark', 'spark-s3'] : []),
  ...(isWithTrino ? ['trino'] : []),
]
isOk &&= (await run(process.execPath, ['infra/setup.mjs', ...parts])) === 0
const env = {
  KAPPALAKE_FIGURES: figuresFile,
  KAPPALAKE_READERS: readers.join(','),
  KAPPALAKE_TRINO: isWithTrino ? '1' : '',
}
// What documentation says of Spark and Trino stands outside of this folder.
const where = ['test/interop', ...(isWithSpark || isWithTrino ? ['test/docs'] : [])]
isOk &&= (await run('npx', ['vitest', 'run', '--project', 'real', ...where], env)) === 0

const UNITS = [
  ['cells', 'cells equal to what was written'],
  ['predicates', 'predicates answered with the right rows'],
  ['live', 'cells equal to the fold of the log while the stream went on'],
]
for (const reader of [...readers, ...(isWithTrino ? ['trino'] : [])])
  // Trino reads by the catalog what it can read: no keyed tables, of which the others read predicates and live versions.
  for (const [what, unit] of reader === 'trino' ? UNITS.slice(0, 1) : UNITS) {
    const value = figures().get(`${what} ${reader}`) ?? 0
    const pass = isOk && value > 0
    console.log(
      JSON.stringify({ name: `interop.${reader}.${what}`, value, unit, target: null, ratio: null, peer: reader, pass }),
    )
    isOk &&= pass
  }
console.log(isOk ? 'PASS' : 'FAIL')
process.exit(isOk ? 0 : 1)
