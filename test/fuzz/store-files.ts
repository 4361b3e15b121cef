import { systemClock } from '../../src/clock.ts'
import { LakeError } from '../../src/error.ts'
import { decodeContainer } from '../../src/lake/avro.ts'
import { DeletedRows } from '../../src/lake/deleted-rows.ts'
import { decodeDeletionVector, encodeDeletionVector } from '../../src/lake/deletion-vector.ts'
import { decodeManifestList } from '../../src/lake/manifest-list.ts'
import { decodeDeleteManifest, decodeManifest } from '../../src/lake/manifest.ts'
import { decodeMetadata } from '../../src/lake/metadata.ts'
import { dataFiles } from '../../src/lake/scan.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { changeTable, createTable, openTable, type LakeTable } from '../../src/lake/table.ts'
import { decodeVersion, encodeVersion } from '../../src/version-json.ts'
import type { Version } from '../../src/version.ts'
import type { Target } from './fuzz.ts'

// What a process reads out of a store: a file that is not whole is `store.corrupt`, whatever is broken in it.

export async function storeTargets(): Promise<readonly Target[]> {
  const storage = new MemoryStorage('fuzz')
  const table = await tableIn(storage)
  const files = new Map<string, Uint8Array>()
  for await (const { key } of storage.list('tables/')) files.set(key, (await storage.get(key))!)
  const ending = (end: RegExp): Uint8Array[] => [...files].filter(([key]) => end.test(key)).map(([, bytes]) => bytes)
  const avroFiles = ending(/\.avro$/)
  const shape = { formatVersion: 3, schema: table.schema, spec: table.spec } as const
  return [
    reading(
      'avro-file',
      avroFiles,
      ['Obj\u0001', 'avro.schema', '"null"', '"long"'],
      (bytes) => void decodeContainer('f', bytes),
    ),
    reading('manifest', avroFiles, [], (bytes) => void decodeManifest(shape, 'f', bytes, (uri) => uri)),
    reading('delete-manifest', avroFiles, [], (bytes) => void decodeDeleteManifest(shape, 'f', bytes)),
    reading('manifest-list', avroFiles, [], (bytes) => void decodeManifestList('f', bytes)),
    reading(
      'metadata',
      ending(/metadata\.json$/),
      ['null', '[]', '{}', '-1', '"refs"', '99999999999999999999'],
      (bytes) => void decodeMetadata('f', bytes),
    ),
    reading(
      'version',
      [encodeVersion(version(table))],
      ['null', '[]', '{}', '"x"', '1e5', '"number"'],
      (bytes) => void decodeVersion(bytes, 'f'),
    ),
    reading('deletion-vector', vectors(), [], (bytes) => void decodeDeletionVector('f', bytes, 200_000)),
    {
      ...reading('table', ending(/metadata\.json$/), ['null', '[]', '{}', '-1'], () => undefined),
      read: async ([bytes]) => {
        await storage.put(`tables/t/metadata/v9-fuzz.metadata.json`, bytes!)
        try {
          await dataFiles(storage, await openTable(storage, 'tables/t/metadata/v9-fuzz.metadata.json'))
        } catch (error) {
          agreed(error, ['store.corrupt', 'snapshot.expired'])
        }
      },
      close: () => storage.close(),
    },
  ]
}

/** Reads each input; what it refuses is refused as `store.corrupt`. */
function reading(
  name: string,
  seeds: readonly Uint8Array[],
  words: readonly string[],
  read: (bytes: Uint8Array) => void,
): Target {
  return {
    name,
    seeds,
    words: words.map((word) => Buffer.from(word)),
    read: (inputs) => {
      for (const input of inputs)
        try {
          read(input)
        } catch (error) {
          agreed(error, ['store.corrupt'])
        }
    },
  }
}

/** Throws what is no agreed refusal. */
export function agreed(error: unknown, codes: readonly string[]): void {
  if (error instanceof LakeError && codes.includes(error.code)) return
  throw error
}

/** A table with data files, and a deletion vector. */
async function tableIn(storage: MemoryStorage): Promise<LakeTable> {
  const spec = {
    name: 't',
    columns: [
      { name: 'a', type: { kind: 'long' } },
      { name: 'b', type: { kind: 'string' } },
    ],
    partitionBy: ['a'],
    formatVersion: 3,
  } as const
  const table = await createTable(storage, spec, systemClock)
  const added = Array.from({ length: 5 }, (_, k) => ({
    key: `tables/t/data/${k}.parquet`,
    recordCount: 10,
    fileSizeBytes: 100,
    partition: [BigInt(k)],
    metrics: new Map([
      [1, { sizeBytes: 8, valueCount: 10, nullCount: 0, lower: Buffer.alloc(8), upper: Buffer.alloc(8) }],
    ]),
  }))
  const stamp = { commitId: systemClock.uuid(), version: 1n, ranges: 't:0=0-50' }
  return changeTable(storage, table, { kind: 'write', added, deletes: [], removed: [] }, stamp, systemClock)
}

function vectors(): readonly Uint8Array[] {
  return [[1, 2, 3, 70_000], Array.from({ length: 20_000 }, (_, k) => 2 * k), []].map((positions) => {
    const rows = new DeletedRows(200_000)
    for (const position of positions) rows.add(position)
    return encodeDeletionVector(rows)
  })
}

function version(table: LakeTable): Version {
  return {
    number: 7n,
    kind: 'ingest',
    commitId: 'c',
    parent: 'p',
    writer: 'w',
    time: '2026-11-21T10:00:00.000Z',
    formatVersion: 1,
    tables: { t: { metadata: table.metadata, snapshot: table.snapshot, code: 'c0de' } },
    positions: new Map([['t/0', 50n]]),
    origins: new Map([['t/0', 0n]]),
    clocksMs: {},
    watermarksMs: {},
    watermarkMs: undefined,
    topicIds: {},
    tails: new Map([['t/0', { offset: 49n, leaderEpoch: 0, hash: 'h' }]]),
    holes: new Map([['t/0', [{ from: 1n, until: 2n }]]]),
    published: { t: 3n },
    recentCommits: ['a', 'b'],
    jump: 2n,
    paused: undefined,
    released: false,
    fork: undefined,
  }
}
