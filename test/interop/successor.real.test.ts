import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock as clock } from '../../src/clock.ts'
import { table, type PipelineDefinition } from '../../src/define.ts'
import { MemoryLog } from '../../src/ingest/memory-log.ts'
import { openChain } from '../../src/lake/chain.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { openTable, type LakeTable } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { beginFork } from '../support/fork.ts'
import { runOnce } from '../support/fork-lake.ts'
import { read, READERS, type Job } from './readers.ts'

// A table that is made anew takes the place of the live one: a session of another engine that was opened before goes on
// with it, and sees one table whose columns changed.

const LIMIT_MS = 180_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-successor-'))
const HOW = { lanes: 1, recordsMax: 3, offsetsMax: 4 } as const
let storage: LocalStorage
let base: LakeTable
let successor: LakeTable

const pipeline = (columns: Readonly<Record<string, string>>, partitionBy: readonly string[]): PipelineDefinition => ({
  name: 'p',
  onDataLoss: 'stop',
  windows: [],
  tables: [table('k', { from: { topic: 'c' }, columns, key: ['id'], partitionBy } as Parameters<typeof table>[1])],
})
const BEFORE = pipeline({ id: 'string required', n: 'long', gone: 'string' }, ['bucket(4, id)'])
const AFTER = pipeline({ added: 'list<struct<a:int>>', id: 'string required', n: 'double' }, ['bucket(4, id)'])

beforeAll(async () => {
  storage = await LocalStorage.open(path.join(folder, 'store'))
  const log = new MemoryLog()
  log.createTopic('c', 2)
  for (let k = 0; k < 20; k++) {
    const value = { id: `id${k % 7}`, n: k, gone: 'x', added: [{ a: k }] }
    const bytes = Buffer.from(JSON.stringify(value))
    log.append('c', (k % 7) % 2, [{ timestampMs: 1_000, key: Buffer.from(value.id), value: bytes }])
  }
  const chain = openChain(storage, 'p', clock)
  const head = await runOnce({ storage, log, chain, definition: BEFORE, ...HOW })
  const fork = await beginFork({ storage, definition: AFTER, rebuilt: new Set(['k']), base: head })
  const { part, run, until } = fork
  const built = await runOnce({
    storage,
    log,
    chain: fork.chain,
    definition: part.definition,
    fork: run,
    until,
    ...HOW,
  })
  const opened = (version: Version) => openTable(storage, version.tables['k']!.metadata)
  base = await opened(head)
  successor = await opened(built)
}, LIMIT_MS)

afterAll(async () => {
  await storage.close()
  rmSync(folder, { recursive: true, force: true })
})

test('a session of PyIceberg that refreshes goes on with the successor', { timeout: LIMIT_MS }, async () => {
  const catalog = await OneTable.start(storage, base)
  const session = new Session(catalog.uri)
  try {
    const before = await session.next()
    catalog.table = successor
    const after = await session.refresh()
    expect(before.rows.length).toBe(7)
    expect(after.rows.map((row) => row.slice(0, 3))).toEqual(
      Array.from({ length: 7 }, (_, k) => k)
        .map((k) => [`[{'a': ${latest(k)}}]`, `id${k}`, `${latest(k)}.0`])
        .toSorted(([a], [b]) => (a! < b! ? -1 : 1)),
    )
    expect(after.uuid).toBe(before.uuid)
    expect(after.sequenceNumber).toBeGreaterThan(before.sequenceNumber + 1_000_000)
    const ids = (seen: Seen) => new Map(seen.columns.map(([id, name]) => [name, id]))
    expect(ids(after).get('id')).toBe(ids(before).get('id'))
    const last = base.raw['last-column-id']
    for (const name of ['n', 'added']) expect(ids(after).get(name)).toBeGreaterThan(last)
    expect(after.fields).toEqual(['id_bucket'])
    // A catalog that goes back, as after a rollback, is followed too.
    catalog.table = base
    expect((await session.refresh()).rows).toEqual(before.rows)
  } finally {
    await session.close()
    await catalog.close()
  }
})

test.each(READERS)('%s reads every row of the successor', { timeout: LIMIT_MS }, async (reader) => {
  const { fields } = successor.schema
  const metadata = `file://${folder}/store/${successor.metadata}`
  const job: Job = { table: 'k', metadata, fields, key: 'id', predicates: [], snapshots: [], lineage: false }
  const [answer] = await read(reader, [job])
  expect({ error: answer!.error, problems: answer!.problems, count: answer!.count }).toEqual({
    error: undefined,
    problems: [],
    count: 7,
  })
  expect(answer!.rows.map((row) => row['id']).toSorted()).toEqual(Array.from({ length: 7 }, (_, k) => `id${k}`))
})

/** Number of the last record of a key. */
function latest(k: number): number {
  return k + 14 < 20 ? k + 14 : k + 7
}

interface Seen {
  readonly uuid: string
  readonly sequenceNumber: number
  readonly columns: readonly (readonly [id: number, name: string, type: string])[]
  readonly fields: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** A REST catalog of one table, which is whatever it is told. */
class OneTable {
  table: LakeTable
  readonly uri: string
  readonly #server: Server

  private constructor(server: Server, table: LakeTable) {
    this.#server = server
    this.table = table
    this.uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async start(storage: LocalStorage, table: LakeTable): Promise<OneTable> {
    let catalog: OneTable | undefined
    const answer = async (url: string): Promise<string> => {
      if (url.startsWith('/v1/config')) return '{"defaults": {}, "overrides": {}}'
      const { metadata } = catalog!.table
      const text = Buffer.from((await storage.get(metadata))!).toString()
      return `{"metadata-location": "file://${folder}/store/${metadata}", "metadata": ${text}, "config": {}}`
    }
    const server = createServer((request, response) => {
      void answer(request.url!).then((text) => response.setHeader('content-type', 'application/json').end(text))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return (catalog = new OneTable(server, table))
  }

  close(): Promise<void> {
    this.#server.closeAllConnections()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }
}

class Session {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly #errors: Buffer[] = []

  constructor(uri: string) {
    const cache = path.resolve(import.meta.dirname, '../..', process.env['KAPPALAKE_CACHE'] ?? '.cache')
    const python = path.join(cache, 'python/bin/python')
    expect(existsSync(python), `${python} is missing: run \`npm run setup\``).toBe(true)
    this.#child = spawn(python, [path.join(import.meta.dirname, 'python/read_refresh.py'), uri, 'p.k'], {
      env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', PYTHONDONTWRITEBYTECODE: '1' },
    })
    this.#child.stderr.on('data', (chunk: Buffer) => this.#errors.push(chunk))
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  async next(): Promise<Seen> {
    const line = await this.#lines.next()
    if (line.done !== true) return JSON.parse(line.value) as Seen
    throw new Error(Buffer.concat(this.#errors).toString().slice(-2_000))
  }

  refresh(): Promise<Seen> {
    this.#child.stdin.write('\n')
    return this.next()
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.on('close', resolve))
    this.#child.stdin.end()
    await ended
  }
}
