import { existsSync, mkdtempSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig, type LoadOptions } from '../../src/config.ts'
import { writeBundle } from '../../src/config-file.ts'
import { jsonSchema } from '../../src/config-schema.ts'
import { codeHash } from '../../src/define-code.ts'
import { LakeError } from '../../src/error.ts'
import { MapRunner } from '../../src/ingest/map/map-function.ts'
import { MAINTENANCE } from '../../src/settings.ts'

let root: string
let count = 0
beforeAll(() => {
  root = mkdtempSync(path.join(os.tmpdir(), 'kappalake-config-'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** A folder of its own with these files. */
function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = path.join(root, `f${count++}`)
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true })
    writeFileSync(path.join(folder, name), text)
  }
  return folder
}
const PIPELINES = `
pipelines:
  shop:
    tables:
      orders:
        from: { topic: shop.orders }
        columns: { id: string required, amount: "decimal(12,2)" }
`
const load = (yaml: string, options: LoadOptions = {}) =>
  loadConfig({ folder: folderOf({ 'kappalake.yaml': yaml }), ...options })
async function failing(work: Promise<unknown>): Promise<LakeError> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(LakeError)
  return error as LakeError
}
const BROKERS = 'kafka: { brokers: [a:9092] }\n'

describe('defaults', () => {
  test('are those of the reference', async () => {
    const { settings, definition } = await load(BROKERS + PIPELINES)
    expect(definition.pipelines[0]?.tables[0]?.topic).toBe('shop.orders')
    expect(settings).toMatchObject({
      writer: os.hostname(),
      source: { kind: 'kafka', kafka: { brokers: ['a:9092'] } },
      commit: {
        minIntervalMs: 500,
        microBatch: { bytesMax: 32 * 2 ** 20, ageMsMax: 500, recordsMax: 500_000 },
        heartbeatMs: 60_000,
      },
      takeoverAfterMs: 90_000,
      maintenance: MAINTENANCE,
      lanes: os.availableParallelism(),
      http: { host: '127.0.0.1', port: 7780 },
      query: {
        children: 2,
        queueMax: 16,
        rowsMax: 100_000,
        bytesMax: 64 * 2 ** 20,
        timeoutMs: 30_000,
        memoryBytesMax: 800e6,
      },
    })
  })

  test('a commit to object storage waits longer', async () => {
    const { settings } = await load(`${BROKERS}store: s3://bucket/lake/\n${PIPELINES}`)
    expect(settings.store.url).toBe('s3://bucket/lake')
    expect(settings.commit.minIntervalMs).toBe(2_000)
  })

  test('a folder is relative to the file', async () => {
    const folder = folderOf({ 'kappalake.yaml': `${BROKERS}store: file:./data\n${PIPELINES}` })
    const { settings } = await loadConfig({ folder: '/', file: path.join(folder, 'kappalake.yaml') })
    expect(settings.store.url).toBe(`file://${folder}/data`)
  })
})

describe('layers', () => {
  const yaml = `${BROKERS}http: { port: 1000 }\ncommit: { minInterval: 1s }\n${PIPELINES}`
  const env = { KAPPALAKE__HTTP__PORT: '2000', KAPPALAKE__KAFKA__BROKERS: 'b:1,c:2', OTHER: 'x' }

  const port = async (options: LoadOptions) => (await load(yaml, options)).settings.http.port

  test('defaults < file < environment < flags', async () => {
    expect(await port({})).toBe(1000)
    expect(await port({ env })).toBe(2000)
    expect(await port({ env, flags: { 'http.port': '3000' } })).toBe(3000)
  })

  test('every value knows its source', async () => {
    const { sources, settings } = await load(yaml, { env, flags: { 'http.host': '::1', lanes: undefined } })
    expect(settings.source).toMatchObject({ kafka: { brokers: ['b:1', 'c:2'] } })
    const source = (field: string) => sources.get(field)?.source
    expect(source('http.port')).toBe('KAPPALAKE__HTTP__PORT')
    expect(source('kafka.brokers')).toBe('KAPPALAKE__KAFKA__BROKERS')
    expect(source('http.host')).toBe('--host')
    expect(source('commit.minInterval')).toMatch(/kappalake\.yaml:3$/)
    expect(source('commit.heartbeat')).toBe('default')
    expect(sources.get('query.memory')).toEqual({ value: '800MB', source: 'default', isSecret: false })
  })

  test('variables are spelt in any case, with or without underscores', async () => {
    for (const name of ['KAPPALAKE__COMMIT__MIN_INTERVAL', 'KAPPALAKE__commit__minInterval'])
      expect((await load(yaml, { env: { [name]: '7s' } })).settings.commit.minIntervalMs).toBe(7_000)
  })

  test('a variable of no setting is refused', async () => {
    const error = await failing(load(yaml, { env: { KAPPALAKE__HTTP__PROT: '1' } }))
    expect(error.code).toBe('config.unknown_key')
    expect(error.message).toContain('KAPPALAKE__HTTP__PROT')
    expect(error.fix).toBe('Did you mean "port"?')
  })

  test('a wrong value names the variable or the flag it came from', async () => {
    expect((await failing(load(yaml, { env: { KAPPALAKE__HTTP__PORT: 'x' } }))).message).toMatch(
      /^KAPPALAKE__HTTP__PORT http\.port: must be a whole number/,
    )
    expect((await failing(load(yaml, { flags: { 'http.port': '99999' } }))).message).toMatch(/^--port http\.port/)
  })
})

describe('references', () => {
  const yaml = `kafka: { brokers: "\${BROKERS:-localhost:9092}" }\nwriter: "\${NAME}"\n${PIPELINES}`

  test('are replaced, with defaults', async () => {
    const { settings } = await load(yaml, { env: { NAME: 'n', BROKERS: '' } })
    expect(settings.writer).toBe('n')
    expect(settings.source).toMatchObject({ kafka: { brokers: ['localhost:9092'] } })
  })

  test('to what is not set are errors', async () => {
    const error = await failing(load(yaml))
    expect(error.message).toMatch(/kappalake\.yaml:2 writer: the variable NAME is not set/)
    expect(error.fix).toContain('${NAME:-default}')
  })

  test('may be files', async () => {
    const folder = folderOf({
      'kappalake.yaml': `kafka: { brokers: [a:1], sasl: { mechanism: plain, username: u, password: "\${file:secret}" } }\n${PIPELINES}`,
      secret: 'hush\n',
    })
    const { settings, sources } = await loadConfig({ folder })
    expect(settings.source).toMatchObject({ kafka: { sasl: { password: 'hush' } } })
    expect(sources.get('kafka.sasl.password')).toMatchObject({ isSecret: true })
  })

  test('salts are secrets, from anywhere but the file itself', async () => {
    const salt = 'sixteen characters'
    const yaml = `${BROKERS}salts: { people: "\${file:salt}" }\n${PIPELINES}`
    const folder = folderOf({ 'kappalake.yaml': yaml, salt: `${salt}\n` })
    const { settings, sources } = await loadConfig({ folder, env: { KAPPALAKE__SALTS__CARD_NUMBERS: `${salt} more` } })
    expect(settings.salts).toEqual({ people: salt, card_numbers: `${salt} more` })
    expect(sources.get('salts.people')).toMatchObject({ isSecret: true })
    const written = await failing(load(`${BROKERS}salts: { people: ${salt} }\n${PIPELINES}`))
    expect(written).toMatchObject({ context: { path: 'salts.people' } })
    expect(written.message).toMatch(/written out/)
    const short = await failing(load(BROKERS + PIPELINES, { env: { KAPPALAKE__SALTS__PEOPLE: 'short' } }))
    expect(short.message).toMatch(/fewer than 16 characters/)
    expect((await load(BROKERS + PIPELINES)).settings.salts).toBeUndefined()
  })

  test('are secrets of a schema registry too', async () => {
    const registry = 'registry: { url: "http://r:8081", username: lake, password: "${PASSWORD}" }\n'
    const { settings, sources } = await load(BROKERS + registry + PIPELINES, { env: { PASSWORD: 'hush' } })
    expect(settings.registry).toEqual({ url: 'http://r:8081', username: 'lake', password: 'hush', timeoutMs: 10_000 })
    expect(sources.get('registry.password')).toMatchObject({ isSecret: true })
    expect((await load(BROKERS + PIPELINES)).settings).not.toHaveProperty('registry')
  })

  test('an empty text is an absent one', async () => {
    const { settings } = await load(
      `${BROKERS}store: { url: s3://bucket, endpoint: "\${S3_ENDPOINT:-}" }\n${PIPELINES}`,
    )
    expect(settings.store).toEqual({ url: 's3://bucket' })
  })
})

describe('errors name file, line, field and fix', () => {
  test.each<[string, string, string, RegExp, RegExp?]>([
    ['', 'config.invalid', 'kafka.brokers', /is missing/],
    ['kafka: { broker: [a:1] }', 'config.unknown_key', 'kafka.broker', /did you mean "brokers"/, /"brokers"/],
    ['kafka: { brokers: [a] }', 'config.invalid', 'kafka.brokers', /"a" is not host:port/, /localhost:9092/],
    ['kafka: { brokers: [] }', 'config.invalid', 'kafka.brokers', /names no broker/],
    ['kafka: { brokers: [a:1], ssl: { ca: ca.pem } }', 'config.invalid', 'kafka.ssl.ca', /not a PEM/, /\$\{file:/],
    ['kafka: { brokers: [a:1], topics: {} }', 'config.unsupported', 'kafka.topics', /not in this release/],
    [
      'kafka: { brokers: [a:1], ssl: { cert: x, kee: y } }',
      'config.unknown_key',
      'kafka.ssl.kee',
      /did you mean "key"/,
    ],
    [
      'kafka:\n  brokers: [a:1]\n  sasl: { mechanism: plain, username: u, password: p }',
      'config.invalid',
      'kafka.sasl.password',
      /:4 .*written out/,
      /\$\{VAR\}/,
    ],
    [BROKERS + 'sotre: file:x', 'config.unknown_key', 'sotre', /did you mean "store"/],
    [BROKERS + 'store: gs://x', 'config.invalid', 'store.url', /not a store/, /s3:/],
    [BROKERS + 'http: { host: 0.0.0.0 }', 'config.invalid', 'http.host', /:3 .*no keys are asked for/, /key new/],
    [BROKERS + 'commit: { minInterval: 5 }', 'config.invalid', 'commit.minInterval', /:3 .*"5" is not a duration/],
    [BROKERS + 'commit: { microBatch: { bytes: 1kb } }', 'config.invalid', 'commit.microBatch.bytes', /not a size/],
    [BROKERS + 'lanes: many', 'config.invalid', 'lanes', /"many"/, /auto/],
    [BROKERS + 'query: { timeout: { s: 1 } }', 'config.invalid', 'query.timeout', /must be a duration/],
    [BROKERS + 'http: 80', 'config.invalid', 'http', /must be a mapping/, /Write \{host: …, port: …/],
    [BROKERS + 'auth: {}', 'config.unsupported', 'auth', /http\.keys/],
    [BROKERS + 'registry: { url: x }', 'config.invalid', 'registry.url', /must be an http or https address/],
    [BROKERS + 'registry: { url: "http://a:b@c" }', 'config.invalid', 'registry.url', /without user name/],
    [BROKERS + 'registry: {}', 'config.invalid', 'registry.url', /is missing/],
    [BROKERS + 'registry: { url: "http://a", timeout: 1h }', 'config.invalid', 'registry.timeout', /longer than/],
    [BROKERS + 'registry: { url: "http://a", token: abc }', 'config.invalid', 'registry.token', /written out/],
  ])('%j', async (settings, code, field, message, fix) => {
    const error = await failing(load(`\n${settings}\n${PIPELINES}`))
    expect(error.context.path).toBe(field)
    expect(error.code).toBe(code)
    expect(error.message).toMatch(/kappalake\.yaml(:\d+)? /)
    expect(error.message).toMatch(message)
    if (fix !== undefined) expect(error.fix).toMatch(fix)
  })

  test('inside of tables too', async () => {
    const error = await failing(load(`${BROKERS}${PIPELINES.replace('decimal(12,2)', 'decimal(12,22)')}`))
    expect(error.message).toMatch(/kappalake\.yaml:8 pipelines\.shop\.tables\.orders\.columns\.amount: the scale/)
    const windows = await failing(load(`${BROKERS}${PIPELINES}    windows: { w: {} }\n`))
    const list = await failing(load(`${BROKERS}${PIPELINES}    windows: { w: { groupBy: a } }\n`))
    expect([list.message, list.fix]).toEqual([
      expect.stringContaining('must be a list'),
      'Write a list, such as [a, b].',
    ])
    expect([windows.code, windows.context.path]).toEqual(['config.invalid', 'pipelines.shop.windows.w.source'])
    const names = await failing(load(`${BROKERS}${PIPELINES.replace('orders:', 'orders__dlq:')}`))
    expect(names.message).toContain('"__"')
  })

  test('YAML that is none', async () => {
    const error = await failing(load('kafka: [\n  a: {\n'))
    expect(error.message).toMatch(/kappalake\.yaml:\d+ /)
    expect((await failing(load('kafka: 1\nkafka: 2\n'))).message).toMatch(/:2 .*unique/)
    expect((await failing(load('- a\n'))).message).toMatch(/must be a mapping/)
  })

  test('no file, no table, a file that is not there', async () => {
    expect((await failing(loadConfig({ folder: folderOf({}) }))).fix).toContain('kappalake init')
    expect((await failing(load(BROKERS))).context.path).toBe('pipelines')
    expect((await failing(load('', { file: '/nowhere.yaml' }))).message).toContain('/nowhere.yaml does not exist')
  })
})

describe('TypeScript', () => {
  const examples = path.resolve('examples/orders')

  test('gives the code hash of the same definition in YAML', async () => {
    const yaml = await loadConfig({ folder: examples })
    const ts = await loadConfig({ file: path.join(examples, 'lake.ts'), flags: { 'kafka.brokers': 'a:1' } })
    expect(ts.definition).toEqual(yaml.definition)
    expect(ts.definition.pipelines[0]!.tables.map(codeHash)).toEqual(yaml.definition.pipelines[0]!.tables.map(codeHash))
    expect(ts.definitionHash).toMatch(/^[0-9a-f]{32}$/)
    expect(readdirSync(examples).filter((name) => name.endsWith('.mjs'))).toEqual([])
  })

  const LAKE = `import { defineLake, table, t } from 'kappalake'
    import { topic } from './topic.ts'
    export default defineLake({ shop: [table('orders', { from: { topic }, columns: { id: t.string() } })] })`
  const topic = 'export const topic: string = "shop.orders"'

  test('in a folder that may only be read: elsewhere, with the same packages, and nothing is left or lost', async () => {
    const folder = folderOf({
      'lake.ts': LAKE,
      'node_modules/of-mine/package.json': '{ "name": "of-mine", "type": "module", "main": "index.js" }',
      'node_modules/of-mine/index.js': 'export default 7',
    })
    const readOnly = () => Promise.reject(Object.assign(new Error('read-only'), { code: 'EROFS' }))
    const code = new TextEncoder().encode(`import seven from 'of-mine'; export default seven`)
    const { file, toRemove } = await writeBundle(path.join(folder, 'below'), 'bundle.mjs', code, readOnly)
    expect(file.startsWith(folder)).toBe(false)
    expect(await import(file)).toMatchObject({ default: 7 })
    rmSync(toRemove, { recursive: true })
    expect(existsSync(path.join(folder, 'node_modules/of-mine/index.js'))).toBe(true)
    const full = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }))
    await expect(writeBundle(folder, 'bundle.mjs', code, full)).rejects.toThrow('full')
    expect(await writeBundle(folder, 'bundle.mjs', code)).toEqual({
      file: path.join(folder, 'bundle.mjs'),
      toRemove: path.join(folder, 'bundle.mjs'),
    })
  })

  test('settings in kappalake.config.ts, tables in lake.ts, relative imports', async () => {
    const folder = folderOf({
      'lake.ts': LAKE,
      'topic.ts': topic,
      'kappalake.config.ts': `import definition from './lake.ts'
        export default { kafka: { brokers: ['x:1'] }, store: 's3://bucket', definition }`,
    })
    const { settings, definition } = await loadConfig({ folder })
    expect(settings.store.url).toBe('s3://bucket')
    expect(definition.pipelines[0]?.tables[0]?.topic).toBe('shop.orders')
  })

  test('a YAML of settings finds the lake.ts beside it, or the one it names', async () => {
    const beside = folderOf({ 'kappalake.yaml': BROKERS, 'lake.ts': LAKE, 'topic.ts': topic })
    expect((await loadConfig({ folder: beside })).definition.pipelines).toHaveLength(1)
    const named = folderOf({ 'kappalake.yaml': `${BROKERS}definition: ./d.ts`, 'd.ts': LAKE, 'topic.ts': topic })
    expect((await loadConfig({ folder: named })).definition.pipelines).toHaveLength(1)
  })

  test.each<[string, string, RegExp]>([
    [
      `import { table } from 'kappalake'; export default table('Orders', {})`,
      'config.invalid',
      /lake\.ts: Orders: "Orders" is not a name/,
    ],
    [`export const a = 1`, 'config.invalid', /no default export/],
    [`export default { pipelines: `, 'config.invalid', /Unexpected end of file/],
    [`throw new Error('mine')`, 'config.invalid', /mine/],
  ])('%s', async (code, expected, message) => {
    const error = await failing(loadConfig({ folder: folderOf({ 'lake.ts': code }) }))
    expect(error.message).toMatch(message)
    expect(error.code).toBe(expected)
  })
})

describe('functions', () => {
  const CLEAN = `import { upper } from './upper.ts' // a comment
    export default (row: { id: string }) => ({ ...row, id: upper(row.id) })`
  const UPPER = 'export const upper = (text: string): string => text.toUpperCase()'
  const TABLE = '{ from: { topic: o }, columns: { id: string }, map: ./clean.ts }'
  const YAML = `${BROKERS}pipelines: { shop: { tables: { orders: ${TABLE} } } }`
  const LAKE = `import { defineLake, table } from 'kappalake'
    export default defineLake({ shop: [
      table('orders', { from: { topic: 'o' }, columns: { id: 'string' }, map: './clean.ts' })] })`
  const tableOf = async (files: Readonly<Record<string, string>>) =>
    (await loadConfig({ folder: folderOf(files), env: { KAPPALAKE__KAFKA__BROKERS: 'a:1' } })).definition.pipelines[0]!
      .tables[0]!

  test('in files are bundled, and the same from YAML and TypeScript', async () => {
    const files = { 'clean.ts': CLEAN, 'upper.ts': UPPER }
    const table = await tableOf({ 'kappalake.yaml': YAML, ...files })
    expect(table.map).toMatchObject({ kind: 'text' })
    const runner = new MapRunner('orders.map', (table.map as { text: string }).text)
    expect(runner.map('{"id":"a"}')).toEqual({ text: '{"id":"A"}' })
    expect(await tableOf({ 'lake.ts': LAKE, ...files })).toEqual(table)
    const spoken = await tableOf({
      'kappalake.yaml': YAML,
      ...files,
      'clean.ts': CLEAN.replace('a comment', 'another'),
    })
    expect(codeHash(spoken)).toBe(codeHash(table))
    const changed = { ...files, 'upper.ts': UPPER.replace('toUpperCase', 'toLowerCase') }
    expect(codeHash(await tableOf({ 'kappalake.yaml': YAML, ...changed }))).not.toBe(codeHash(table))
  })

  test.each<[Readonly<Record<string, string>>, RegExp]>([
    [{}, /kappalake\.yaml.*clean\.ts does not exist/],
    [{ 'clean.ts': 'export default (row => ' }, /clean\.ts: Unexpected end of file/],
    [{ 'clean.ts': "import fs from 'node:fs'; export default () => fs.a" }, /Could not resolve "node:fs"/],
  ])('%o', async (files, message) => {
    const error = await failing(tableOf({ 'kappalake.yaml': YAML, ...files }))
    expect(error.message).toMatch(message)
    expect(error.context.path).toBe('pipelines.shop.tables.orders.map')
  })
})

test('docs/kappalake.schema.json is the schema of this code', () => {
  const written = readFileSync('docs/kappalake.schema.json', 'utf8')
  expect(JSON.parse(written), 'run node infra/schema.mjs').toEqual(jsonSchema())
})

test('docs/config.md names every key and every default', () => {
  const reference = readFileSync('docs/config.md', 'utf8')
  const missing: string[] = []
  const visit = (node: any, at: string): void => {
    for (const [key, property] of Object.entries<any>(node.properties ?? {})) {
      const field = at === '' ? key : `${at}.${key}`
      const inner = property.properties === undefined ? property.anyOf?.find((o: any) => o.properties) : property
      if (inner?.properties !== undefined && !['kafka.ssl', 'kafka.sasl', 'from'].includes(field)) visit(inner, field)
      else if (!reference.includes(`\`${field}\``) && !['pipelines', 'definition', 'from'].includes(field))
        missing.push(field)
      const line = reference.split('\n').find((text) => text.startsWith(`| \`${field}\``))
      const isTold = property.default === undefined || line?.includes(`\`${property.default}\``)
      if (!isTold) missing.push(`default of ${field}`)
    }
  }
  visit(jsonSchema(), '')
  expect(missing).toEqual([])
})
