import { createHash } from 'node:crypto'
import type { CompareRequest, Comparison } from '../../src/ingest/keys.ts'
import type { IcebergField, IcebergType } from '../../src/lake/table.ts'
import type { PlainRow } from './plain-rows.ts'

// What `TableWork.compare` must find, from rows that a test has at hand, as plainly as it can be said. Nothing of the
// code that is tested is used here: docs/replay-verify.md says how rows are hashed.

/** Values as `PlainWriter` takes them. */
export interface PlainTable {
  readonly fields: readonly IcebergField[]
  readonly rows: readonly PlainRow[]
}

export type PlainRequest = Omit<CompareRequest, 'before' | 'after'>

export function plainCompare(request: PlainRequest, before: PlainTable, after: PlainTable): Comparison {
  const { columns, key, group, samplesMax, groupsMax } = request
  const [old, now] = [read(request, before), read(request, after)]
  const groups = new Map<string, [ReadRow[], ReadRow[]]>()
  ;[old, now].forEach((rows, side) => {
    for (const row of rows) {
      const text = textOf(row, group)
      if (!groups.has(text)) groups.set(text, [[], []])
      groups.get(text)![side]!.push(row)
    }
  })
  const digest = (rows: readonly ReadRow[]): string => plainDigest(rows, columns)
  const different = [...groups.values()].filter(([b, a]) => b.length !== a.length || digest(b) !== digest(a))
  const summed = {
    rowsBefore: BigInt(old.length),
    rowsAfter: BigInt(now.length),
    digestBefore: digest(old),
    digestAfter: digest(now),
    groupsCompared: groups.size,
    groupsDifferent: different.length,
  }
  if (key.length === 0) return { ...summed, groups: [], added: 0n, removed: 0n, changed: 0n, samples: [] }
  const [left, came] = [different.flatMap(([b]) => b), different.flatMap(([, a]) => a)]
  for (const row of left.slice()) {
    const same = came.findIndex(
      (other) => textOf(other, columns) === textOf(row, columns) && textOf(other, key) === textOf(row, key),
    )
    if (same < 0) continue
    came.splice(same, 1)
    left.splice(left.indexOf(row), 1)
  }
  const pairs: [ReadRow | undefined, ReadRow | undefined][] = []
  for (const row of left) {
    const other = came.findIndex((each) => textOf(each, key) === textOf(row, key))
    pairs.push([row, other < 0 ? undefined : came.splice(other, 1)[0]])
  }
  for (const row of came) pairs.push([undefined, row])
  const keyed = pairs.toSorted((a, b) => compareKeys((a[0] ?? a[1])!, (b[0] ?? b[1])!, key))
  return {
    ...summed,
    groups: different
      .map(([b, a]) => ({ row: (b[0] ?? a[0])!, rowsBefore: BigInt(b.length), rowsAfter: BigInt(a.length) }))
      .toSorted((a, b) => compareKeys(a.row, b.row, group))
      .slice(0, group.length === 0 ? 0 : groupsMax)
      .map(({ row, ...rows }) => ({ values: group.map((name) => jsonOf(row.get(name)!)), ...rows })),
    added: BigInt(pairs.filter(([b]) => b === undefined).length),
    removed: BigInt(pairs.filter(([, a]) => a === undefined).length),
    changed: BigInt(pairs.filter(([b, a]) => b !== undefined && a !== undefined).length),
    samples: keyed.slice(0, samplesMax).map(([b, a]) => ({ before: objectOf(b), after: objectOf(a) })),
  }
}

interface Value {
  readonly name: string
  readonly type: IcebergType
  readonly value: unknown
}

type ReadRow = ReadonlyMap<string, Value>

function read({ within = [], since = [] }: PlainRequest, { fields, rows }: PlainTable): ReadRow[] {
  return rows
    .map((row) => new Map(fields.map(({ name, type }, k) => [name, { name, type, value: row[k] ?? null }])))
    .filter((row) => {
      const at = (name: string) => row.get(name)!.value
      const isWithin = within.every(({ column, fromUs = -(2n ** 63n), untilUs = 2n ** 63n }) => {
        const us = at(column) as bigint | null
        return us !== null && us >= fromUs && us <= untilUs
      })
      return (
        isWithin &&
        !since.some(
          ({ partition, offset }) => at('_kafka_partition') === partition && (at('_offset') as bigint) < offset,
        )
      )
    })
}

/** Σ of the hashes of rows modulo 2^128. */
function plainDigest(rows: readonly ReadRow[], columns: readonly string[]): string {
  const sum = rows.reduce((sum, row) => (sum + hashOf(row, columns)) % 2n ** 128n, 0n)
  return sum.toString(16).padStart(32, '0')
}

function hashOf(row: ReadRow, columns: readonly string[]): bigint {
  const values = columns.toSorted().map((name) => row.get(name)!)
  const seed = createHash('sha256').update(JSON.stringify(values.map(({ name, type }) => [name, typeText(type)])))
  const blocks = values.flatMap(({ type, value }) => {
    const bytes = encoded(type, value)
    return [bytes, Buffer.alloc((16 - (bytes.length % 16)) % 16)]
  })
  return murmur(seed.digest().subarray(0, 16), Buffer.concat(blocks))
}

/** MurmurHash3_x86_128 over whole blocks of big-endian words, with a state of its own to begin with, its end twice. */
function murmur(seed: Buffer, bytes: Buffer): bigint {
  const h = [0, 4, 8, 12].map((at) => seed.readUInt32BE(at))
  const C = [0x239b961b, 0xab0e9789, 0x38b34ae5, 0xa1e38b93]
  const turnK = [15, 16, 17, 18]
  const turnH = [19, 17, 15, 13]
  const add = [0x561ccd1b, 0x0bcaa747, 0x96cd1c35, 0x32ac3b17]
  const rotl = (word: number, by: number): number => ((word << by) | (word >>> (32 - by))) >>> 0
  for (let at = 0; at < bytes.length; at += 16)
    for (let k = 0; k < 4; k++) {
      let word = Math.imul(bytes.readInt32BE(at + 4 * k), C[k]!)
      word = Math.imul(rotl(word, turnK[k]!), C[(k + 1) % 4]!)
      h[k] = (Math.imul(rotl(h[k]! ^ word, turnH[k]!) + h[(k + 1) % 4]!, 5) + add[k]!) >>> 0
    }
  const mixed = (word: number): number => {
    word = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35)
    return (word ^ (word >>> 16)) >>> 0
  }
  for (let round = 0; round < 2; round++) {
    h[0] = (h[0]! + h[1]! + h[2]! + h[3]!) >>> 0
    for (const k of [1, 2, 3]) h[k] = mixed((h[k]! + h[0]) >>> 0)
    h[0] = mixed(h[0])
  }
  h[0] = (h[0]! + h[1]! + h[2]! + h[3]!) >>> 0
  for (const k of [1, 2, 3]) h[k] = (h[k]! + h[0]) >>> 0
  return h.reduce((sum, word) => sum * 2n ** 32n + BigInt(word), 0n)
}

/** Length and bytes. */
function encoded(type: IcebergType, value: unknown): Buffer {
  if (value === null || value === undefined) return Buffer.from('ffffffff', 'hex')
  const bytes = bytesOf(type, value)
  const length = Buffer.alloc(4)
  length.writeInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

function bytesOf(type: IcebergType, value: unknown): Buffer {
  if (typeof type !== 'string') {
    if (type.type === 'list') return Buffer.concat((value as unknown[]).map((each) => encoded(type.element, each)))
    if (type.type === 'struct') {
      const fields = type.fields.toSorted((a, b) => (a.name < b.name ? -1 : 1))
      return Buffer.concat(fields.map((f) => encoded(f.type, (value as Record<string, unknown>)[f.name])))
    }
    const entries = [...(value as Map<unknown, unknown>)].map(([k, v]) =>
      Buffer.concat([encoded(type.key, k), encoded(type.value, v)]),
    )
    return Buffer.concat(entries.toSorted(Buffer.compare))
  }
  const of = (length: number, write: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.alloc(length)
    write(bytes)
    return bytes
  }
  switch (type) {
    case 'boolean':
      return Buffer.of(value === true ? 1 : 0)
    case 'int':
    case 'date':
      return of(4, (bytes) => bytes.writeInt32BE(value as number))
    case 'float':
      if (Number.isNaN(value)) return Buffer.from('7fc00000', 'hex')
      return of(4, (bytes) => bytes.writeFloatBE((value as number) + 0))
    case 'double':
      if (Number.isNaN(value)) return Buffer.from('7ff8000000000000', 'hex')
      return of(8, (bytes) => bytes.writeDoubleBE((value as number) + 0))
    case 'long':
    case 'timestamp':
    case 'timestamptz':
      return of(8, (bytes) => bytes.writeBigInt64BE(value as bigint))
    case 'string':
      return Buffer.from(value as string)
    case 'binary':
    case 'uuid':
      return Buffer.from(value as Uint8Array)
  }
  return Buffer.from(
    BigInt.asUintN(128, value as bigint)
      .toString(16)
      .padStart(32, '0'),
    'hex',
  )
}

function typeText(type: IcebergType): string {
  if (typeof type === 'string') return type.split(' ').join('')
  if (type.type === 'list') return `list<${typeText(type.element)}>`
  if (type.type === 'map') return `map<${typeText(type.key)},${typeText(type.value)}>`
  const fields = type.fields.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  return `struct<${fields.map((f) => `${JSON.stringify(f.name)}:${typeText(f.type)}`).join(',')}>`
}

function textOf(row: ReadRow, names: readonly string[]): string {
  return names.map((name) => encoded(row.get(name)!.type, row.get(name)!.value).toString('hex')).join(' ')
}

/** Null comes last. */
function compareKeys(a: ReadRow, b: ReadRow, names: readonly string[]): number {
  for (const name of names) {
    const [x, y] = [a.get(name)!.value, b.get(name)!.value] as (bigint | null)[]
    if (x === y) continue
    if (x === null || y === null) return x === null ? 1 : -1
    const isText = typeof x === 'string'
    const order = isText ? Buffer.compare(Buffer.from(String(x)), Buffer.from(String(y))) : x! < y! ? -1 : 1
    if (order !== 0) return order
  }
  return 0
}

function objectOf(row: ReadRow | undefined): Record<string, unknown> | undefined {
  return row && Object.fromEntries([...row].map(([name, value]) => [name, jsonOf(value)]))
}

/** As the HTTP API writes it. */
export function jsonOf({ type, value }: Pick<Value, 'type' | 'value'>): unknown {
  if (value === null || value === undefined) return null
  if (typeof type !== 'string') {
    if (type.type === 'list') return (value as unknown[]).map((each) => jsonOf({ type: type.element, value: each }))
    if (type.type === 'map')
      return Object.fromEntries(
        [...(value as Map<string, unknown>)].map(([k, v]) => [k, jsonOf({ type: type.value, value: v })]),
      )
    return Object.fromEntries(
      type.fields.map((f) => [f.name, jsonOf({ type: f.type, value: (value as Record<string, unknown>)[f.name] })]),
    )
  }
  const day = 86_400_000
  switch (type) {
    case 'long':
      return String(value)
    case 'float':
    case 'double':
      return Number.isFinite(value) ? value : String(value)
    case 'date':
      return new Date((value as number) * day).toISOString().slice(0, 10)
    case 'timestamp':
    case 'timestamptz': {
      const us = value as bigint
      const below = ((us % 1_000n) + 1_000n) % 1_000n
      const text = new Date(Number((us - below) / 1_000n)).toISOString()
      return text.replace('Z', `${String(below).padStart(3, '0')}Z`)
    }
    case 'binary':
      return Buffer.from(value as Uint8Array).toString('base64')
    case 'uuid':
      return Buffer.from(value as Uint8Array)
        .toString('hex')
        .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  }
  const scale = Number(/^decimal\(\d+, ?(\d+)\)$/.exec(type)?.[1] ?? -1)
  if (scale < 0) return value
  const digits = (value as bigint) < 0n ? String(-(value as bigint)) : String(value)
  const padded = digits.padStart(scale + 1, '0')
  const text = scale === 0 ? padded : `${padded.slice(0, -scale)}.${padded.slice(-scale)}`
  return (value as bigint) < 0n ? `-${text}` : text
}
