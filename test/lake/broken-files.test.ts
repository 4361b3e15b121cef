import { beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { LakeError } from '../../src/error.ts'
import { decodeContainer, encodeContainer } from '../../src/lake/avro.ts'
import { openChain } from '../../src/lake/chain.ts'
import { decodeManifest, encodeManifest } from '../../src/lake/manifest.ts'
import { decodeMetadata } from '../../src/lake/metadata.ts'
import { dataFiles, readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import {
  changeTable,
  claimTable,
  createTable,
  DeletedRows,
  openTable,
  readTags,
  type IcebergSchema,
} from '../../src/lake/table.ts'
import { content } from '../support/scripted-chain.ts'

// A file of the store that is broken is named, and nothing else happens: no crash, no answer that is half right.

const VERSION = 'pipelines/shop/v0000000000000001.json'
let files: ReadonlyMap<string, Uint8Array>
let metadata: string

beforeAll(async () => {
  const storage = new MemoryStorage('broken')
  const columns = [{ name: 'a', type: { kind: 'long' } }] as const
  const empty = await createTable(storage, { name: 't', columns, partitionBy: [], formatVersion: 3 }, systemClock)
  const added = [
    { key: 'tables/t/data/1.parquet', recordCount: 10, fileSizeBytes: 9, partition: [], metrics: new Map() },
  ]
  const stamp = { commitId: 'c', version: 1n, ranges: '' }
  const change = { kind: 'write', added, deletes: [], removed: [] } as const
  const written = await changeTable(storage, empty, change, stamp, systemClock)
  const [file] = await storedFiles(storage, written)
  const rows = new DeletedRows(10)
  rows.add(3)
  const table = await changeTable(
    storage,
    written,
    { kind: 'write', added: [], deletes: [{ file: file!, rows }], removed: [] },
    { ...stamp, commitId: 'd' },
    systemClock,
  )
  metadata = table.metadata
  const chain = openChain(storage, 'shop', systemClock)
  await chain.append(undefined, {
    commitId: 'c',
    build: () =>
      Promise.resolve(
        content(0n, { tables: { t: { metadata, snapshot: table.snapshot, code: 'c0de' } }, positions: new Map() }),
      ),
  })
  await claimTable(storage, 't', 'shop', systemClock)
  await storage.put('pipelines/shop/tags/base-r.json', Buffer.from('{"version":"1","untilMs":null}'))
  const all = new Map<string, Uint8Array>()
  for await (const { key } of storage.list('')) all.set(key, (await storage.get(key))!)
  files = all
})

/** All that a start, and a reader, read of the store. */
async function readAll(storage: MemoryStorage): Promise<void> {
  const head = await openChain(storage, 'shop', systemClock).head()
  await claimTable(storage, 't', 'shop', systemClock)
  await readTags(storage, 'shop')
  const table = await openTable(storage, head!.tables['t']!.metadata)
  await dataFiles(storage, table)
  for (const file of await storedFiles(storage, table)) await readDeletedRows(storage, file)
}

async function storeWith(key: string, bytes: Uint8Array): Promise<MemoryStorage> {
  const storage = new MemoryStorage('broken')
  for (const [each, whole] of files) await storage.put(each, each === key ? bytes : whole)
  return storage
}

/** Files that such a reading comes by: of older snapshots nothing is read, nor are hints and data files. */
function keysRead(): readonly string[] {
  const { snapshots, 'current-snapshot-id': current } = decodeMetadata(metadata, files.get(metadata)!)
  const list = snapshots.find((snapshot) => snapshot['snapshot-id'] === current)!['manifest-list']
  return [...files.keys()].filter((key) => {
    if (key.endsWith('.metadata.json')) return key === metadata
    if (/\/snap-[^/]*\.avro$/.test(key)) return list.endsWith(key)
    return !/head$|version-hint|\.parquet$/.test(key)
  })
}

const BREAKS: Readonly<Record<string, (whole: Uint8Array) => Uint8Array>> = {
  emptied: () => new Uint8Array(0),
  'cut in half': (whole) => whole.subarray(0, Math.floor(whole.length / 2)),
  'without its last byte': (whole) => whole.subarray(0, whole.length - 2),
  zeros: (whole) => new Uint8Array(whole.length),
  'JSON of another kind': () => Buffer.from('{"a":[1,2]}'),
  null: () => Buffer.from('null'),
  'a list': () => Buffer.from('[]'),
  text: () => Buffer.from('<html>404</html>'),
  'a deep nesting': () => Buffer.from('['.repeat(100_000)),
  'an Avro file of other records': () =>
    encodeContainer({ type: 'record', name: 'r', fields: [{ name: 'x', type: 'int' }] }, {}, [{ x: 1 }]),
}

test('the store is read as it is', async () => {
  expect(keysRead().length).toBeGreaterThanOrEqual(7)
  await readAll(await storeWith('', new Uint8Array(0)))
})

describe.each(Object.entries(BREAKS))('%s', (name, broken) => {
  test('a file is store.corrupt, and named', async () => {
    for (const key of keysRead()) {
      // Of a Puffin file the vectors alone are read, where the manifest says that they stand.
      if (key.endsWith('.puffin') && /^(cut|without)/.test(name)) continue
      const storage = await storeWith(key, broken(files.get(key)!))
      const error = await readAll(storage).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      expect(error, key).toBeInstanceOf(LakeError)
      expect((error as LakeError).code, key).toBe('store.corrupt')
      expect((error as LakeError).message, key).toContain(key)
    }
  })
})

test('a version file under the number of another is not taken for it', async () => {
  const whole = Buffer.from(files.get(VERSION)!).toString().replace('"number": "1"', '"number": "2"')
  const chain = openChain(await storeWith(VERSION, Buffer.from(whole)), 'shop', systemClock)
  await expect(chain.head()).rejects.toMatchObject({ code: 'store.corrupt', context: { key: VERSION } })
})

describe('Avro files that ask for more than they have', () => {
  const container = (schema: unknown, records: readonly unknown[]): Uint8Array => encodeContainer(schema, {}, records)

  test.each<[string, unknown, unknown]>([
    [
      'an array of nothing',
      { type: 'record', name: 'r', fields: [{ name: 'a', type: { type: 'array', items: 'null' } }] },
      { a: [null, null] },
    ],
    ['records of nothing', { type: 'record', name: 'r', fields: [{ name: 'a', type: 'null' }] }, { a: null }],
  ])('%s', (_, schema, record) => {
    expect(() => decodeContainer('f', container(schema, [record]))).toThrow(/f is not a whole Avro file/)
  })

  test('counts of blocks and items are held against the bytes that are there', () => {
    const schema = { type: 'record', name: 'r', fields: [{ name: 'a', type: { type: 'array', items: 'int' } }] }
    const whole = Buffer.from(container(schema, [{ a: [1, 2, 3] }]))
    const sync = whole.subarray(whole.length - 16)
    const head = whole.subarray(0, whole.indexOf(sync) + 16)
    const nullCodec = Buffer.from(head.toString('latin1').replace('\u000edeflate', '\u0008null'), 'latin1')
    // One record: an array of 2^50 items, of which one is there.
    const datum = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x04, 0x02])
    const block = (count: number): Buffer =>
      Buffer.concat([nullCodec, Uint8Array.of(2 * count, 2 * datum.length), datum, sync])
    const began = performance.now()
    expect(() => decodeContainer('f', block(1))).toThrow(/f is not a whole Avro file/)
    expect(() => decodeContainer('f', block(60))).toThrow(/f is not a whole Avro file/)
    expect(performance.now() - began).toBeLessThan(1_000)
  })

  test('a block of a length below zero leads nowhere', () => {
    const schema = { type: 'record', name: 'r', fields: [{ name: 'a', type: 'int' }] }
    const whole = Buffer.from(container(schema, [{ a: 1 }]))
    const sync = whole.subarray(whole.length - 16)
    const head = whole.subarray(0, whole.indexOf(sync) + 16).toString('latin1')
    const plain = Buffer.from(head.replace('\u000edeflate', '\u0008null'), 'latin1')
    // No records, and as many bytes as lead back to the mark of the header.
    const block = Buffer.concat([plain, Uint8Array.of(0, 2 * 18 - 1), sync])
    expect(() => decodeContainer('f', block)).toThrow(/f is not a whole Avro file/)
  })
})

test('an entry of a status that is none is not taken for a live one', () => {
  const schema: IcebergSchema = { type: 'struct', 'schema-id': 0, fields: [] }
  const shape = { formatVersion: 3, schema, spec: { 'spec-id': 0, fields: [] } } as const
  const file = { key: 'k', recordCount: 1, fileSizeBytes: 1, partition: [], metrics: new Map() }
  const numbers = { snapshotId: 1n, sequenceNumber: 1n, fileSequenceNumber: 1n, firstRowId: 0n }
  const entry = { status: 'odd' as 'added', ...numbers, path: 'k', file }
  const read = (bytes: Uint8Array) => decodeManifest(shape, 'f', bytes, (uri) => uri)
  expect(read(encodeManifest(shape, [{ ...entry, status: 'added' }])).length).toBe(1)
  expect(() => read(encodeManifest(shape, [entry]))).toThrow(/f is no manifest of its table/)
})
