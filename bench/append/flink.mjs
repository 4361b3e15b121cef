// Flink SQL with the Iceberg sink, on the same broker, topic and machine; see ../flink/.
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { root } from '../support/load.mjs'

const LIMIT_MS = 240_000
const PACKAGES = ['lang', 'lang.invoke', 'util', 'util.concurrent', 'nio', 'net', 'text', 'time']
const JVM = ['-Xmx4g', '-XX:MaxDirectMemorySize=2g', ...opens(PACKAGES.map((name) => `java.base/java.${name}`))]

/**
 * CPU seconds per million records as a slope: a run over the first fifth is taken off the run over everything, and with
 * it the start of the JVM and most of its compiling. `rows` is what its table holds in
 * the end. Throws one line when Flink cannot be run.
 */
export async function runFlink({ folder, address, topic, partitions, records }) {
  const few = Math.floor(records / partitions / 5)
  const all = Math.floor(records / partitions)
  const run = (each) => runOnce({ folder, address, topic, partitions, each })
  const [short, long] = [await run(few), await run(all)]
  const millions = ((all - few) * partitions) / 1e6
  return {
    cpuPerMillion: (long.cpuSeconds - short.cpuSeconds) / millions,
    recordsPerSecond: (1e6 * millions) / (long.seconds - short.seconds),
    short,
    long,
  }
}

async function runOnce({ folder, address, topic, partitions, each }) {
  const home = path.join(path.resolve(root, process.env.KAPPALAKE_CACHE ?? '.cache'), 'flink')
  if (!existsSync(path.join(home, 'classes/FlinkAppend.class')))
    throw new Error('Flink is missing: run `node infra/setup.mjs flink`')
  const warehouse = path.join(folder, 'flink')
  for (const old of [warehouse, `${warehouse}-checkpoints`]) rmSync(old, { recursive: true, force: true })
  const classes = `${home}/classes:${home}/lib/*`
  const args = [...JVM, '-cp', classes, 'FlinkAppend', address, topic, each, partitions, warehouse].map(String)
  const { stdout } = await promisify(execFile)('java', args, { timeout: LIMIT_MS, maxBuffer: 1 << 26 }).catch(
    (error) => {
      throw new Error(
        `Flink failed: ${String(error.stderr || error.message)
          .trim()
          .split('\n')
          .at(-1)}`,
      )
    },
  )
  // A bounded job of this sink sometimes ends well without its last commit; all records were read and written to files.
  const rows = recordsIn(path.join(warehouse, 'bench/orders/metadata'))
  return { ...JSON.parse(stdout.trim().split('\n').at(-1)), rows }
}

/** Records of the newest snapshot. */
function recordsIn(metadata) {
  const number = (name) => Number(/^v(\d+)\.metadata\.json$/.exec(name)?.[1] ?? 0)
  const newest = readdirSync(metadata).reduce((best, name) => (number(name) > number(best) ? name : best))
  const { snapshots } = JSON.parse(readFileSync(path.join(metadata, newest), 'utf8'))
  return Number(snapshots.at(-1)?.summary['total-records'] ?? 0)
}

function opens(modules) {
  return [...modules, 'java.base/sun.nio.ch'].map((module) => `--add-opens=${module}=ALL-UNNAMED`)
}
