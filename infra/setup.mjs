// Installs the real parts that tests and benchmarks run against into .cache/ (or $KAPPALAKE_CACHE): Apache Kafka from
// its Maven artifacts, with Debezium's connector beside it; PostgreSQL; PyIceberg, DuckDB's Iceberg extension and an S3
// server in a Python environment; the Java reference reader. Each part is installed once; a stamp of its recipe says whether it is still the right one.
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { findJdk } from './jdk.mjs'
import { TRINO_JAVA } from './trino.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const cache = path.resolve(root, process.env.KAPPALAKE_CACHE ?? '.cache')

const needs = [
  {
    command: ['java', '-version'],
    what: 'Java 17 or newer (a JDK), for Apache Kafka and the reference Iceberg reader',
  },
  { command: ['mvn', '-version'], what: 'Maven, to download Apache Kafka' },
  {
    command: ['python3', '-m', 'venv', '--help'],
    what: 'Python 3.11 or newer with venv, for PyIceberg and the S3 server',
  },
]

const parts = [
  {
    name: 'kafka',
    recipe: ['infra/parts/pom.xml'],
    steps: (dir) => [
      ['mvn', '-q', '-B', '-f', 'infra/parts/pom.xml', 'dependency:copy-dependencies', `-DoutputDirectory=${dir}/libs`],
    ],
  },
  {
    name: 'python',
    recipe: ['infra/parts/requirements.txt'],
    steps: (dir) => [
      ['python3', '-m', 'venv', dir],
      [`${dir}/bin/pip`, 'install', '-q', '--disable-pip-version-check', '-r', 'infra/parts/requirements.txt'],
    ],
  },
  {
    name: 'java-reader',
    recipe: ['test/interop/java/pom.xml', 'test/interop/java/src/main/java/ReadJava.java'],
    steps: (dir) => [
      [
        'mvn',
        '-q',
        '-B',
        '-f',
        'test/interop/java/pom.xml',
        `-Dbuild.dir=${dir}/target`,
        'compile',
        'dependency:copy-dependencies',
        `-DoutputDirectory=${dir}/lib`,
      ],
    ],
  },
  {
    name: 'postgres',
    recipe: ['infra/parts/postgres/pom.xml', 'infra/parts/postgres/install.sh'],
    steps: (dir) => [['bash', 'infra/parts/postgres/install.sh', dir]],
  },
  {
    name: 'debezium',
    recipe: ['infra/parts/debezium/pom.xml'],
    steps: (dir) => [
      [
        'mvn',
        '-q',
        '-B',
        '-f',
        'infra/parts/debezium/pom.xml',
        `-Dbuild.dir=${dir}/target`,
        'dependency:unpack-dependencies',
        `-DoutputDirectory=${dir}/plugins`,
      ],
      // What Maven's unpacking leaves of the archive's own headers looks like a plugin.
      ['rm', '-rf', `${dir}/plugins/PaxHeaders.X`],
    ],
  },
  {
    name: 'registry',
    recipe: ['infra/parts/registry/install.sh'],
    steps: (dir) => [['bash', 'infra/parts/registry/install.sh', dir]],
  },
  {
    // Only for whom it is asked by name, as it takes 0.9 GB: one more reader of `npm run interop -- --spark`.
    name: 'spark',
    isOptional: true,
    recipe: ['infra/parts/spark/pom.xml', 'infra/parts/spark/requirements.txt'],
    steps: (dir) => [
      ['python3', '-m', 'venv', dir],
      [`${dir}/bin/pip`, 'install', '-q', '--disable-pip-version-check', '-r', 'infra/parts/spark/requirements.txt'],
      [
        'mvn',
        '-q',
        '-B',
        '-f',
        'infra/parts/spark/pom.xml',
        'dependency:copy-dependencies',
        '-DexcludeTransitive=true',
        `-DoutputDirectory=${dir}/jars`,
      ],
    ],
  },
  {
    // Only for whom it is asked by name: what that Spark reads S3 with.
    name: 'spark-s3',
    isOptional: true,
    recipe: ['infra/parts/spark-s3/pom.xml'],
    steps: (dir) => [
      [
        'mvn',
        '-q',
        '-B',
        '-f',
        'infra/parts/spark-s3/pom.xml',
        'dependency:copy-dependencies',
        '-DexcludeTransitive=true',
        `-DoutputDirectory=${dir}/jars`,
      ],
    ],
  },
  {
    // Only for whom it is asked by name, as 0.8 GB are fetched: one more reader of `npm run interop -- --trino`.
    name: 'trino',
    isOptional: true,
    // Before anything is fetched.
    assert: () => findJdk(TRINO_JAVA, 'Trino'),
    recipe: ['infra/parts/trino/pom.xml', 'infra/parts/trino/install.sh'],
    steps: (dir) => [['bash', 'infra/parts/trino/install.sh', dir]],
  },
  {
    // Only for whom it is asked by name: what `npm run check:infra` reads manifests with.
    name: 'lint',
    isOptional: true,
    recipe: ['infra/parts/lint/requirements.txt'],
    steps: (dir) => [
      ['python3', '-m', 'venv', dir],
      [`${dir}/bin/pip`, 'install', '-q', '--disable-pip-version-check', '-r', 'infra/parts/lint/requirements.txt'],
    ],
  },
  {
    // Only for whom it is asked by name: a peer that benchmarks may be compared with.
    name: 'flink',
    isOptional: true,
    recipe: ['bench/flink/pom.xml', 'bench/flink/install.sh', 'bench/flink/FlinkAppend.java'],
    steps: (dir) => [['bash', 'bench/flink/install.sh', dir]],
  },
]

function require(names) {
  for (const { command, what } of needs) {
    try {
      execFileSync(command[0], command.slice(1), { stdio: 'ignore' })
    } catch {
      console.error(`setup: ${command[0]} is missing; install ${what}.`)
      process.exit(1)
    }
  }
  return parts.filter((part) => (names.length === 0 ? part.isOptional !== true : names.includes(part.name)))
}

function run(command) {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] })
    child.on('error', reject)
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${command.join(' ')} ended with ${code}`))))
  })
}

async function install(part) {
  part.assert?.()
  const recipe = part.recipe.map((file) => path.join(root, file)).filter(existsSync)
  if (recipe.length === 0) return
  const stamp = createHash('sha256')
    .update(recipe.map((file) => readFileSync(file)).join('\n'))
    .digest('hex')
  const dir = path.join(cache, part.name)
  const stampFile = path.join(dir, '.stamp')
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  const started = Date.now()
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir, { recursive: true })
  for (const step of part.steps(dir)) await run(step)
  writeFileSync(stampFile, stamp)
  console.log(`setup: ${part.name} installed in ${((Date.now() - started) / 1000).toFixed(0)} s`)
}

await Promise.all(require(process.argv.slice(2)).map(install)).catch((error) => {
  console.error(`setup: ${error.message}`)
  process.exit(1)
})
