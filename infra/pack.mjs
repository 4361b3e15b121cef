// `npm run check:package`: what people will install. Builds, packs, installs the package into an empty project as npm
// does it, compiles a strict program against its types, runs it, and lets the command make a project and run the demo
// against its ledger. `--short` links this repository's packages instead of installing, and leaves out the demo: that
// needs no network, and the tests do it.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
/** What a project in TypeScript has besides. */
const COMPILER = ['typescript', '@types/node']

/** Packs into `folder`; returns the tarball and the files in it. Declarations are built when they are not there. */
export function pack(folder) {
  if (!existsSync(path.join(root, 'dist/types/index.d.ts'))) run(process.execPath, ['infra/build.mjs'], root)
  const said = run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--loglevel=error', '--pack-destination', folder],
    root,
  )
  const [{ filename, files, unpackedSize }] = JSON.parse(said)
  return { tarball: path.join(folder, filename), files: files.map((file) => file.path), unpackedSize }
}

/**
 * Puts the package into `project`/node_modules without a registry: its files as they were packed, and links to those
 * packages alone that it declares, or that the project names.
 */
export function link(tarball, project, others = COMPILER) {
  const modules = path.join(project, 'node_modules')
  const own = path.join(modules, 'kappalake')
  mkdirSync(own, { recursive: true })
  run('tar', ['-xzf', tarball, '--strip-components=1', '-C', own], project)
  for (const name of new Set([...Object.keys(manifest.dependencies), ...others])) {
    const place = path.join(modules, name)
    mkdirSync(path.dirname(place), { recursive: true })
    if (!existsSync(place)) symlinkSync(path.join(root, 'node_modules', name), place)
  }
  // As npm makes it from `bin`.
  mkdirSync(path.join(modules, '.bin'), { recursive: true })
  for (const [name, file] of Object.entries({ kappalake: '../kappalake/dist/main.js', tsc: '../typescript/bin/tsc' }))
    if (!existsSync(path.join(modules, '.bin', name))) symlinkSync(file, path.join(modules, '.bin', name))
}

/** A definition, and a program of somebody who embeds the library, as strict as a compiler can be. */
const TABLES = `import { debezium, json, raw, session, t, table, tumbling } from 'kappalake'

export const orders = table('orders', {
  from: { topic: 'shop.orders', value: json() },
  columns: { orderId: t.string(), status: t.enum('paid', 'open'), amount: t.decimal(12, 2), updatedAt: t.timestamptzMs() },
  key: ['orderId'],
  where: (o, { ne }) => ne(o.status, 'test'),
  eventTime: { column: 'updatedAt' },
})
export const revenue = tumbling('revenue', orders, {
  size: '1m',
  groupBy: ['status'],
  select: ({ count, sum }) => ({ n: count(), revenue: sum('amount') }),
})
export const changes = table('changes', {
  from: { topic: 'shop.changes', value: debezium() },
  columns: { id: t.long(), tags: t.list(t.string()) },
  key: ['id'],
})
export const bytes = table('bytes', { from: { topic: 'shop.bytes', value: raw() } })
export const visits = session('visits', orders, { gap: '1m', groupBy: ['orderId'], select: { n: 'count()' } })
`

const CONSUMER = `import { defineLake, LakeError, open, tumbling, type Lake, type LakeErrorCode } from 'kappalake'
import { connect, LakeError as ClientError, type JsonRow } from 'kappalake/client'
import { orders, revenue } from './tables.js'

// @ts-expect-error there is no such column: the types of the package are known, not any
export const wrong = () => tumbling('wrong', orders, { size: '1m', select: ({ sum }) => ({ s: sum('nothing') }) })

type Order = typeof orders.$row
const order: Pick<Order, 'orderId' | 'status' | 'amount' | 'updatedAt'> = {
  orderId: 'a',
  status: 'paid',
  amount: '1.50',
  updatedAt: new Date(0),
}
type Revenue = typeof revenue.$row
const row: Pick<Revenue, 'status' | 'n' | 'revenue' | 'window_start'> = {
  status: 'paid',
  n: 1n,
  revenue: '1.50',
  window_start: 0n,
}
// @ts-expect-error an int64 is bigint
export const number: Revenue['n'] = 1
export const read = async (lake: Lake) => {
  const [first] = await lake.rows(orders, { where: { status: 'paid', amount: { gte: '1' } }, limit: 1 })
  // @ts-expect-error there is no such column
  void lake.rows(orders, { where: { nothing: 1 } })
  for await (const { code } of lake.sql<{ code: string }>\`select code from \${orders.deadLetters}\`) void code.length
  lake.on('version', ({ pipeline, version }) => void [pipeline.length, version.number + 1n])
  return first?.updatedAt?.getTime() ?? Number(row.n)
}
const remote = connect({ url: 'http://127.0.0.1:1' })
export const far = async (): Promise<string | null | undefined> => {
  const [first] = await remote.rows<JsonRow<Order>>('orders', { limit: 1 })
  return first?.updatedAt
}
const unreachable: unknown = await remote.tables.list().catch((reason: unknown) => reason)
if (!(unreachable instanceof ClientError) || !(unreachable instanceof LakeError)) throw new Error(String(unreachable))
if (unreachable.code !== 'not_ready') throw new Error(unreachable.code)

const look = async (lake: Lake): Promise<bigint> => {
  const [row] = await lake.sql<{ n: bigint }>\`select count(*) n from \${orders}\`
  return row?.n ?? 0n
}
const code: LakeErrorCode = 'config.invalid'
const error: unknown = await open(defineLake({ shop: [orders, revenue] }), {
  kafka: { brokers: ['127.0.0.1:1'] },
  // @ts-expect-error a store has an address
  store: { urll: 'file:./lake' },
}).then(look, (reason: unknown) => reason)
if (!(error instanceof LakeError) || error.code !== 'config.unknown_key') throw new Error(\`\${code}: \${String(error)}\`)
if (order.orderId !== 'a') throw new Error('nothing')
console.log('embedded')
`

/** A test of theirs, with the runner of Node. */
const LAB = `import assert from 'node:assert/strict'
import test from 'node:test'
import { defineLake, LakeError } from 'kappalake'
import { testLake } from 'kappalake/testing'
import { orders, revenue } from './tables.js'

test('a pipeline proves itself', async () => {
  const lab = await testLake(defineLake({ shop: [orders, revenue] }), { seed: 7 })
  const updatedAt = new Date('2026-03-02T10:00:07Z')
  await lab.produce(orders, [{ orderId: 'a', status: 'paid', amount: '10.00', updatedAt }])
  // @ts-expect-error no row has that symbol
  void ((row: typeof orders.$input) => row)({ orderId: 'a', status: 'payed' })
  const [row] = await lab.rows(revenue)
  const total: string | null | undefined = row?.revenue
  // @ts-expect-error it is text: a double would round it
  const wrong: number | undefined = row?.revenue
  assert.deepEqual([row?.n, total, wrong], [1n, '10.00', '10.00'])
  assert.deepEqual(await lab.rows(orders), [{ orderId: 'a', status: 'paid', amount: '10.00', updatedAt }])
  const [held] = await lab.holds({ runs: 3 })
  assert.equal(held?.runs, 3)
  await lab.close()
  // An error of the one entry is one of the other.
  await assert.rejects(lab.rows(orders), (error) => error instanceof LakeError)
})
`

const STRICT = {
  compilerOptions: {
    target: 'ES2022',
    lib: ['ES2023', 'ESNext.Disposable'],
    module: 'NodeNext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    verbatimModuleSyntax: true,
    // Tables that others import have types that can be named.
    declaration: true,
    outDir: 'out',
    rewriteRelativeImportExtensions: true,
    types: ['node'],
  },
  include: ['*.ts', 'testing/*.ts'],
}

/** Programs of a guide, by the names that their first lines give them: what is shown compiles. */
function documented(guide) {
  const text = readFileSync(path.join(root, 'docs', guide), 'utf8')
  return [...text.matchAll(/^```ts\n\/\/ (\S+\.ts)\n([\s\S]*?)^```$/gm)].map(([, name, program]) => [name, program])
}

/** Goes through the whole of it; throws where something lacks. Returns what was seen, for tests. */
export function checkPackage({ isShort, log = () => undefined }) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-pack-'))
  try {
    const packed = pack(folder)
    log(`packed ${packed.files.length} files, ${(packed.unpackedSize / 2 ** 20).toFixed(1)} MiB`)
    const project = path.join(folder, 'project')
    mkdirSync(project)
    writeFileSync(
      path.join(project, 'package.json'),
      JSON.stringify({ name: 'project', private: true, type: 'module' }),
    )
    if (isShort) link(packed.tarball, project)
    else {
      const compiler = COMPILER.map((name) => `${name}@${manifest.devDependencies[name]}`)
      run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', packed.tarball, ...compiler], project)
    }
    log(isShort ? 'linked' : 'installed')
    for (const [name, text] of Object.entries({ tables: TABLES, consumer: CONSUMER, lab: LAB }))
      writeFileSync(path.join(project, `${name}.ts`), text)
    for (const [name, text] of documented('embedding.md')) writeFileSync(path.join(project, name), text)
    mkdirSync(path.join(project, 'testing'))
    for (const [name, text] of documented('testing.md')) writeFileSync(path.join(project, 'testing', name), text)
    writeFileSync(path.join(project, 'tsconfig.json'), JSON.stringify(STRICT))
    const node = (...args) => run(process.execPath, args, project)
    const wrong = complaints(project)
    if (wrong.length > 0) throw new Error(`the compiler says:\n${wrong.join('\n')}`)
    log('types resolve')
    const embedded = node('out/consumer.js').trim()
    if (embedded !== 'embedded') throw new Error(`the consumer said: ${embedded}`)
    log('the library opens')
    node('--test', 'out/lab.js')
    log('a pipeline proves itself')
    const command = (...args) => run(path.join(project, 'node_modules/.bin/kappalake'), args, project)
    // npm does it for a command that it installs.
    if (isShort) run('chmod', ['+x', path.join(project, 'node_modules/kappalake/dist/main.js')], project)
    const version = command('--version').trim()
    if (version !== manifest.version) throw new Error(`the command says that it is ${version}`)
    command('init', 'made')
    const made = JSON.parse(readFileSync(path.join(project, 'made/package.json'), 'utf8'))
    // npm tells where it installed from; what is linked is only known by its version.
    const source = isShort ? version : `file:${packed.tarball}`
    if (made.dependencies.kappalake !== source) throw new Error(`the project needs ${made.dependencies.kappalake}`)
    const printed = command('config', 'print', '-c', 'made/kappalake.yaml', '-o', 'csv')
    if (!printed.includes('kafka.brokers,localhost:9092,')) throw new Error(`config print said: ${printed}`)
    log('the command makes a project and reads it')
    if (!isShort) {
      const verdict = command('demo', '--ci', '--port', '0', '--data', path.join(folder, 'demo'))
      const { ok, records } = JSON.parse(verdict.trim().split('\n').at(-1))
      if (ok !== true) throw new Error(`the demo: ${verdict}`)
      log(`the demo is equal to its ledger after ${records} records`)
    }
    return { ...packed, version }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * What the compiler says of the program and of our declarations. Those of others are read as strictly, and what they
 * lack is theirs: Hono's want the names of a browser.
 */
function complaints(project) {
  const { stdout } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.', '--pretty', 'false'], {
    cwd: project,
    encoding: 'utf8',
  })
  const lines = stdout.split('\n').filter((line) => line.trim() !== '')
  return lines.filter((line) => /^((testing\/)?[\w.]+\.ts|node_modules\/kappalake\/|error )/.test(line))
}

function run(command, args, cwd) {
  try {
    return execFileSync(command, args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 64 * 2 ** 20,
    })
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}\n${error.stdout ?? ''}${error.stderr ?? ''}`, { cause: error })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  run(process.execPath, ['infra/build.mjs'], root)
  checkPackage({ isShort: process.argv.includes('--short'), log: (text) => console.log(`✓ ${text}`) })
}
