import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock as clock } from '../../src/clock.ts'
import { t, table, type TableDefinition } from '../../src/define.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import type { Encoder, StagedTable } from '../../src/ingest/lane.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import type { Storage } from '../../src/lake/table.ts'
import { batchOf, tablePlan, type TestRecord } from '../support/lake-table.ts'
import { ParquetReader } from '../support/parquet.ts'
import { ReferenceTable } from '../support/reference-table.ts'

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-transforms-'))
let storage: Storage
let reader: ParquetReader
/** The version of the ranges that is looked up; a later one says otherwise. */
let pinned: bigint

const RANGES = [
  { first: 16_777_216, last: 16_777_471, country: 'AU' },
  { first: 16_777_472, last: 16_778_239, country: 'CN' },
  { first: 167_772_160, last: 184_549_375, country: 'XX' },
  { first: 3_232_235_520, last: null, country: 'ZZ' },
]

beforeAll(async () => {
  storage = await openStorage({ url: `file:${folder}` }, clock)
  reader = await ParquetReader.open()
  const ranges = new ReferenceTable(storage, 'ranges', { first: 'long', last: 'long', country: 'string' }, ['first'])
  await ranges.add([{ first: 16_777_216, last: 16_777_471, country: 'old' }])
  pinned = (await ranges.add(RANGES)).number
  await ranges.add(RANGES.map((range) => ({ ...range, country: 'new' })))
})
afterAll(async () => {
  reader.close()
  await storage.close()
  rmSync(folder, { recursive: true, force: true })
})

const SALT = 'sixteen characters at least'
const IP = `list_reduce(list_transform(string_split(ip, '.'), lambda x: CAST(x AS BIGINT)), lambda a, b: a * 256 + b)`

const visits = (): TableDefinition =>
  table('visits', {
    from: { topic: 'shop.orders' },
    columns: {
      id: t.string().required(),
      kind: t.string(),
      label: t.string(),
      ip: t.string(),
      email: t.string(),
      home: t.struct({ street: t.string(), zip: t.int() }),
      tags: t.list(t.string()),
      country: t.string().as('geo.country'),
      loud: t.string().as('upper(label)'),
      processed_at: t.timestamptz().as('_timestamp'),
    },
    map: (row) => {
      if (row['kind'] === 'throw') throw new Error(`secret ${row['email']}`)
      if (row['kind'] === 'drop') return null
      return { ...row, label: typeof row['label'] === 'string' ? row['label'].trim() : row['label'] }
    },
    lookup: {
      geo: {
        table: 'ranges',
        at: String(pinned),
        between: { value: IP, from: 'first', to: 'last' },
        select: ['country'],
      },
    },
    where: `kind IS DISTINCT FROM 'bot' AND geo.country IS DISTINCT FROM 'XX'`,
    redact: {
      email: { hash: 'people' },
      home: 'drop',
      tags: 'drop',
      label: 'mask',
      phone: 'mask',
      ssn: 'drop',
      card: { hash: 'people' },
    },
  })

const REDACTED = ['email', 'home', 'tags', 'label', 'phone', 'ssn', 'card']
type Visit = Readonly<Record<string, unknown>>

/** What a record becomes, one by one, in plain TypeScript. */
function outcome(text: string, timestampMs: number): unknown {
  let visit: Visit
  try {
    visit = JSON.parse(text) as Visit
  } catch {
    return { code: 'decode.json', value: '' }
  }
  const dead = (code: string): unknown => ({
    code,
    value: JSON.stringify(Object.fromEntries(Object.entries(visit).filter(([field]) => !REDACTED.includes(field)))),
  })
  if (visit['kind'] === 'throw') return dead('transform.map_failed')
  if (visit['kind'] === 'drop') return 'filtered'
  if (typeof visit['id'] !== 'string') return dead('decode.type')
  const ip = visit['ip'] as string | null
  if (ip === 'nowhere') return dead('transform.failed')
  const number = ip?.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  const range = RANGES.find(
    ({ first, last }) => number !== undefined && first <= number && number <= (last ?? Infinity),
  )
  if (visit['kind'] === 'bot' || range?.country === 'XX') return 'filtered'
  const label = (visit['label'] as string | null)?.trim() ?? null
  const extra = [
    ...('phone' in visit ? [['phone', visit['phone'] === null ? null : '****']] : []),
    ...('card' in visit ? [['card', hashed(visit['card'] as string | null)]] : []),
    ...('other' in visit ? [['other', visit['other']]] : []),
  ] as [string, unknown][]
  return {
    id: visit['id'],
    kind: visit['kind'] ?? null,
    label: label === null ? null : '****',
    ip,
    email: hashed((visit['email'] as string | null) ?? null),
    isDropped: true,
    country: range?.country ?? null,
    loud: label?.toUpperCase() ?? null,
    processedMs: timestampMs,
    extra: extra.length === 0 ? null : Object.fromEntries(extra),
  }
}

function hashed(text: string | null): string | null {
  return text === null ? null : createHash('sha256').update(SALT).update(text).digest('hex')
}

const VISIT = fc.oneof(
  {
    weight: 20,
    arbitrary: fc
      .record(
        {
          id: fc.oneof({ weight: 9, arbitrary: fc.constantFrom('a', 'b') }, { weight: 1, arbitrary: fc.constant(5) }),
          kind: fc.oneof(
            { weight: 6, arbitrary: fc.constantFrom('click', null) },
            { weight: 2, arbitrary: fc.constantFrom('bot', 'throw', 'drop') },
          ),
          label: fc.constantFrom(null, ' short ', '   a label of more than twelve bytes  '),
          ip: fc.constantFrom(
            null,
            '1.0.0.0',
            '1.0.0.255',
            '1.0.1.0',
            '1.0.4.0',
            '0.0.0.1',
            '10.1.2.3',
            '192.168.0.0',
            '255.1.1.1',
            'nowhere',
          ),
          email: fc.option(fc.string({ unit: 'grapheme', maxLength: 30 })),
          home: fc.option(
            fc.record({ street: fc.constantFrom(null, 'a street with a long name'), zip: fc.constant(7) }),
          ),
          tags: fc.option(fc.array(fc.constantFrom('x', 'a tag that is rather long'), { maxLength: 3 })),
          phone: fc.constantFrom(null, '+1', '+49 123 456 789 000'),
          ssn: fc.constantFrom('secret', null),
          card: fc.constantFrom(null, '4111 1111 1111 1111'),
          other: fc.constantFrom(1, 'x'),
        },
        { requiredKeys: ['id', 'ip'] },
      )
      .map((visit) => JSON.stringify(visit)),
  },
  { weight: 1, arbitrary: fc.constant('{"email":"a@b"') },
)

const COLUMNS = `_offset, id, kind, label, ip, email, home IS NULL AND tags IS NULL, country, loud, epoch_ms(processed_at), _extra`

/** Outcomes by offset, as a lane that gets the records in these pieces writes them. */
async function staged(encoder: Encoder, def: TableDefinition, pieces: readonly (readonly TestRecord[])[]) {
  const found = new Map<number, unknown>()
  let [first, filtered] = [0, 0]
  for (const records of pieces) {
    const batch = batchOf(records, { first: BigInt(first) })
    first += records.length
    const table = await encoder.encode(tablePlan(def), [batch], new Set())
    filtered += table.counts.get('shop.orders/0')?.filtered ?? 0
    for (const [offset, id, kind, label, ip, email, isDropped, country, loud, processedMs, extra] of await rowsOf(
      table.files,
      COLUMNS,
    ))
      found.set(Number(offset), {
        id,
        kind,
        label,
        ip,
        email,
        isDropped,
        country,
        loud,
        processedMs: Number(processedMs),
        extra: extra === null ? null : JSON.parse(String(extra)),
      })
    for (const [offset, code, value] of await rowsOf(table.deadLetterFiles, '_offset, code, decode(value)'))
      found.set(Number(offset), { code, value })
  }
  for (let offset = 0; offset < first; offset++) if (!found.has(offset)) found.set(offset, 'filtered')
  expect([...found.values()].filter((each) => each === 'filtered')).toHaveLength(filtered)
  return Array.from({ length: first }, (_, offset) => found.get(offset))
}

async function rowsOf(files: StagedTable['files'], select: string) {
  return (await Promise.all(files.map((file) => reader.rows(storage, file, select)))).flat()
}

test('any cut of the records gives what plain TypeScript makes of each', { timeout: 60_000 }, async () => {
  const def = visits()
  const encoder = await openEncoder({ tables: [def], storage, clock, salts: { people: SALT } })
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(VISIT, { minLength: 1, maxLength: 25 }), { maxLength: 4 }), async (pieces) => {
        const records = pieces.map((list, p) => list.map((value, k) => ({ value, timestampMs: 1_000 * p + k })))
        const wanted = records.flat().map(({ value, timestampMs }) => outcome(value, timestampMs))
        expect(await staged(encoder, def, records)).toEqual(wanted)
      }),
      { numRuns: 40 },
    )
  } finally {
    await encoder.close()
  }
})

test('thousands of rows stay in their order, chunk by chunk', { timeout: 60_000 }, async () => {
  const def = visits()
  const encoder = await openEncoder({ tables: [def], storage, clock, salts: { people: SALT } })
  const ips = ['255.1.1.1', '1.0.0.7', '0.0.0.1', '1.0.1.0']
  const records = Array.from({ length: 7_001 }, (_, k) => ({
    value: JSON.stringify({
      id: `${k}`,
      ip: ips[(k * 7_919) % 4],
      email: `${k}@example.com`,
      kind: k % 9 ? 'x' : 'bot',
    }),
    timestampMs: k,
  }))
  try {
    const wanted = records.map(({ value, timestampMs }) => outcome(value, timestampMs))
    expect(await staged(encoder, def, [records])).toEqual(wanted)
    expect(await staged(encoder, def, [records.slice(0, 2_048), records.slice(2_048)])).toEqual(wanted)
  } finally {
    await encoder.close()
  }
})

test('what a function says of a failure is not kept where fields are redacted', async () => {
  const def = visits()
  const encoder = await openEncoder({ tables: [def], storage, clock, salts: { people: SALT } })
  try {
    const records = ['{"id":"a","kind":"throw","email":"a@b"}', '{"id":"a","email":"a@b"'].map((value) => ({ value }))
    const { deadLetterFiles } = await encoder.encode(tablePlan(def), [batchOf(records)], new Set())
    expect(await rowsOf(deadLetterFiles, 'code, message, stage, decode(value)')).toEqual([
      ['decode.json', expect.stringMatching(/at byte \d+; its 23 bytes are not kept/), 'decode', ''],
      ['transform.map_failed', 'the function fails: Error', 'transform', '{"id":"a","kind":"throw"}'],
    ])
  } finally {
    await encoder.close()
  }
})

test('a dead letter that a function changed is kept as it came', async () => {
  const def = table('visits', {
    from: { topic: 'shop.orders' },
    columns: { id: t.int() },
    map: (row) => ({ ...row, id: row['id'] === 'x' ? 'y' : row['id'] }),
  })
  const encoder = await openEncoder({ tables: [def], storage, clock })
  try {
    const records = [
      '{"id":1}',
      '{"id":"x"}',
      '{"id": 0.25e1}',
      '{"id":12345678901234567890}',
      '{"id":1,"id":1}',
      '[1]',
    ].map((value) => ({
      value,
    }))
    const { deadLetterFiles } = await encoder.encode(tablePlan(def), [batchOf(records)], new Set())
    expect(await rowsOf(deadLetterFiles, '_offset, decode(value)')).toEqual([
      [1n, '{"id":"x"}'],
      [2n, '{"id": 0.25e1}'],
      [3n, '{"id":12345678901234567890}'],
      [4n, '{"id":1,"id":1}'],
      [5n, '[1]'],
    ])
  } finally {
    await encoder.close()
  }
})

test('rows of keys are found although other columns are redacted, and values that are kept are redacted once', async () => {
  const def = table('people', {
    from: { topic: 'shop.orders', key: 'string' },
    columns: { id: t.string(), email: t.string(), n: t.int() },
    key: ['id'],
    missing: 'keep',
    redact: { email: { hash: 'people' } },
  })
  const encoder = await openEncoder({ tables: [def], storage, clock, salts: { people: SALT } })
  try {
    const records = [
      { key: 'a', value: '{"id":"a","email":"a@example.com","n":1}' },
      { key: 'a', value: '{"id":"a","n":2}' },
    ]
    const { files, keys } = await encoder.encode(tablePlan(def), [batchOf(records)], new Set())
    expect(keys).toBeDefined()
    const hash = hashed('a@example.com')
    expect(await rowsOf(files, 'id, email, n')).toEqual([
      ['a', hash, 1],
      ['a', hash, 2],
    ])
  } finally {
    await encoder.close()
  }
})

test('dead letters are read again as they are kept: nothing is hashed twice, and nothing is deleted', async () => {
  const def = visits()
  const encoder = await openEncoder({ tables: [def], storage, clock, salts: { people: SALT } })
  try {
    const records = ['', '{"id":"a","kind":"throw"}', '{"id":"a"}'].map((value) => ({ value }))
    const retried = new Map(
      records.map((_, k) => [`shop.orders/0@${k}`, { clockMs: undefined, attempts: 2, isStale: false }] as const),
    )
    const none = new Set<string>()
    const plan = tablePlan(def)
    const { files, deadLetterFiles } = await encoder.encode(plan, [batchOf(records)], none, none, {}, retried)
    expect(await rowsOf(files, '_offset, email')).toEqual([[2n, null]])
    expect(await rowsOf(deadLetterFiles, '_offset, code, attempts, decode(value)')).toEqual([
      [0n, 'decode.json', 3, ''],
      [1n, 'transform.map_failed', 3, '{"id":"a","kind":"throw"}'],
    ])
  } finally {
    await encoder.close()
  }
})
