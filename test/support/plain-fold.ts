import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../src/clock.ts'
import type { ConcatenateInput } from '../../src/ingest/keys.ts'
import type { Encoder, StagedCounts } from '../../src/ingest/lane.ts'
import { valueOf } from '../../src/ingest/record-batch.ts'
import type { FoldedWindow, FoldRequest, StoredRows, TableDelta, WindowFold } from '../../src/ingest/window/window.ts'
import { DeletedRank, type DataFile, type Storage, type WritePlan } from '../../src/lake/table.ts'
import { partitionId, type PartitionId } from '../../src/log.ts'

/** Windows as plain objects: counts of records `<group>:<event time>` in tumbling windows. Files are arrays in JSON. */
export interface PlainRules {
  readonly sizeMs: number
  readonly latenessMs: number
  readonly boundMs: number
}

export interface Counted {
  readonly group: string
  readonly start: number
  readonly n: number
}

export interface ResultRow extends Counted {
  readonly isFinal: boolean
  readonly corrections: number
}

export function startOf(atMs: number, { sizeMs }: PlainRules): number {
  return Math.floor(atMs / sizeMs) * sizeMs
}

/** Rule L2, for tumbling windows. */
export function isLate(atMs: number, clockMs: number, rules: PlainRules): boolean {
  return startOf(atMs, rules) + rules.sizeMs + rules.latenessMs + rules.boundMs <= clockMs
}

/** `group:time`; a value without a time is a row that no window counts. */
export function parseValue(value: string): { readonly group: string; readonly atMs: number } | undefined {
  const [group, at] = value.split(':')
  return at === undefined ? undefined : { group: group!, atMs: Number(at) }
}

async function writeRows(
  storage: Storage,
  clock: Clock,
  plan: WritePlan,
  rows: readonly unknown[],
): Promise<DataFile[]> {
  if (rows.length === 0) return []
  const key = `${plan.dataPrefix}${clock.uuid()}.json`
  const bytes = Buffer.from(JSON.stringify(rows))
  await storage.put(key, bytes)
  return [{ key, recordCount: rows.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }]
}

/** A lane's encoder of one table that feeds windows. */
export function plainEncoder(storage: Storage, clock: Clock, rules: PlainRules): Encoder {
  return {
    async encode(plan, batches, _fatal, _baseless, clocksMs) {
      const rows: string[] = []
      const late: string[] = []
      const cells = new Map<string, Counted>()
      const counts = new Map<PartitionId, StagedCounts>()
      for (const batch of batches) {
        const id = partitionId(batch.topic, batch.partition)
        const count = counts.get(id) ?? { rows: 0, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined }
        let clockMs = Math.max(clocksMs![id] ?? -Infinity, count.clockMs ?? -Infinity)
        for (let i = 0; i < batch.count; i++) {
          const value = Buffer.from(valueOf(batch, i)!).toString()
          const row = `${batch.partition}@${batch.offsets[i]}=${value}`
          rows.push(row)
          const parsed = parseValue(value)
          if (parsed === undefined) continue
          const { group, atMs } = parsed
          const start = startOf(atMs, rules)
          if (isLate(atMs, clockMs, rules)) late.push(row)
          else {
            const key = `${group}:${start}`
            cells.set(key, { group, start, n: (cells.get(key)?.n ?? 0) + 1 })
          }
          clockMs = Math.max(clockMs, atMs)
        }
        const known = clockMs === -Infinity ? undefined : clockMs
        counts.set(id, { ...count, rows: count.rows + batch.count, clockMs: known })
      }
      const windows = []
      for (const { window, late: lateOf } of plan.windows ?? []) {
        const partials = cells.size === 0 ? undefined : path.join(storage.scratch, `partials-${clock.uuid()}.json`)
        if (partials !== undefined) writeFileSync(partials, JSON.stringify([...cells.values()]))
        const lateFiles = await writeRows(storage, clock, lateOf, late)
        windows.push({ window, partials, lateFiles, late: late.length, lateAssignments: late.length, failed: 0 })
      }
      const files = await writeRows(storage, clock, plan.data, rows)
      return { table: plan.table, files, deadLetterFiles: [], counts, windows }
    },
    close: () => Promise.resolve(),
  }
}

interface Place {
  key: string
  row: number
}

interface Cell {
  readonly counted: Counted
  /** Its count as the state table has it. */
  stored?: number
  state: Place | undefined
  result: { readonly row: ResultRow; readonly at: Place } | undefined
}

const NO_STATE = { openRows: 0, stateBytes: 0 }

export class PlainFold implements WindowFold {
  readonly #storage: Storage
  readonly #clock: Clock
  readonly #rules: PlainRules
  readonly #windows = new Map<string, Map<string, Cell>>()
  isClosed = false

  constructor(storage: Storage, clock: Clock, rules: PlainRules) {
    this.#storage = storage
    this.#clock = clock
    this.#rules = rules
  }

  async load(
    window: string,
    stored: { readonly results: readonly StoredRows[]; readonly state: readonly StoredRows[] },
  ) {
    const cells = new Map<string, Cell>()
    this.#windows.set(window, cells)
    for (const [counted, at] of await this.#read<Counted>(stored.state)) {
      const cell: Cell = { counted, state: at, result: undefined, stored: counted.n }
      cells.set(keyOf(counted), cell)
    }
    for (const [row, at] of await this.#read<ResultRow>(stored.results)) {
      const cell = cells.get(keyOf(row))
      if (cell !== undefined) cell.result = { row, at }
    }
  }

  async fold(window: string, request: FoldRequest): Promise<FoldedWindow> {
    const { sizeMs, latenessMs, boundMs } = this.#rules
    const cells = this.#windows.get(window)!
    for (const file of request.partials) {
      for (const counted of JSON.parse(readFileSync(file, 'utf8')) as Counted[]) {
        const cell = cells.get(keyOf(counted))
        const n = (cell?.counted.n ?? 0) + counted.n
        cells.set(keyOf(counted), { ...(cell ?? { state: undefined, result: undefined }), counted: { ...counted, n } })
      }
      rmSync(file)
    }
    const touched: { cell: Cell; isSettled: boolean; result: ResultRow }[] = []
    let corrected = 0
    for (const cell of cells.values()) {
      const { group, start, n } = cell.counted
      const { watermarkMs = -Infinity, clockMsMin = -Infinity } = request
      const before = cell.result?.row
      const isFinal = watermarkMs >= start + sizeMs - 1 + latenessMs
      const isCorrected = before?.isFinal === true && before.n !== n
      if (isCorrected) corrected++
      const corrections = (before?.corrections ?? 0) + (isCorrected ? 1 : 0)
      // Where all partitions are idle, clocks may be ahead of what is final.
      const isSettled = isFinal && clockMsMin >= start + sizeMs + latenessMs + boundMs
      touched.push({ cell, isSettled, result: { group, start, n, isFinal, corrections } })
    }
    const results = await this.#write(
      request.results,
      touched.filter(({ cell, result }) => JSON.stringify(cell.result?.row) !== JSON.stringify(result)),
      ({ result }) => result,
      ({ cell }) => cell.result?.at,
      ({ cell, result }, at) => (cell.result = { row: result, at }),
    )
    const state = await this.#write(
      request.state,
      touched.filter(({ cell, isSettled }) => (isSettled ? cell.state !== undefined : cell.stored !== cell.counted.n)),
      ({ cell, isSettled }) => (isSettled ? undefined : cell.counted),
      ({ cell }) => cell.state,
      ({ cell }, at) => {
        cell.state = at
        cell.stored = cell.counted.n
      },
    )
    for (const { cell, isSettled } of touched) if (isSettled) cells.delete(keyOf(cell.counted))
    const counts = { late: 0, lateAssignments: 0, failed: 0, corrected, retractOfUnknown: 0 }
    return { ...NO_STATE, results, state, lateFiles: [], ...counts, openRows: cells.size }
  }

  async moved(
    window: string,
    table: 'results' | 'state',
    inputs: readonly ConcatenateInput[],
    output: DataFile | undefined,
  ): Promise<void> {
    let base = 0
    for (const { file, deleted } of inputs) {
      const rank = new DeletedRank(deleted)
      for (const cell of this.#windows.get(window)!.values()) {
        const at = table === 'state' ? cell.state : cell.result?.at
        if (at?.key === file.key) Object.assign(at, { key: output!.key, row: base + at.row - rank.rank(at.row) })
      }
      base += file.recordCount - deleted.count
    }
  }

  async discard(partials: readonly string[]): Promise<void> {
    for (const file of partials) rmSync(file)
  }

  async close(): Promise<void> {
    this.isClosed = true
  }

  async #write<T>(
    plan: WritePlan,
    list: readonly T[],
    row: (each: T) => unknown,
    before: (each: T) => Place | undefined,
    place: (each: T, at: Place) => void,
  ): Promise<TableDelta> {
    const superseded = new Map<string, number[]>()
    for (const each of list) {
      const at = before(each)
      if (at !== undefined) superseded.set(at.key, [...(superseded.get(at.key) ?? []), at.row])
    }
    const written = list.filter((each) => row(each) !== undefined)
    const files = await writeRows(this.#storage, this.#clock, plan, written.map(row))
    for (const [k, each] of written.entries()) place(each, { key: files[0]!.key, row: k })
    const rows = (list: readonly number[]) => Uint32Array.from(list.toSorted((a, b) => a - b))
    return { files, superseded: [...superseded].map(([key, list]) => ({ key, rows: rows(list) })) }
  }

  async #read<R>(stored: readonly StoredRows[]): Promise<(readonly [R, Place])[]> {
    const rows: (readonly [R, Place])[] = []
    for (const { file, deleted } of stored) {
      const all = JSON.parse(Buffer.from((await this.#storage.get(file.key))!).toString()) as R[]
      for (const [row, each] of all.entries()) if (!deleted.has(row)) rows.push([each, { key: file.key, row }])
    }
    return rows
  }
}

/** Local files of partials that nobody has deleted. */
export function leftPartials(storage: Storage): readonly string[] {
  return readdirSync(storage.scratch).filter((file) => file.startsWith('partials-'))
}

function keyOf({ group, start }: Counted): string {
  return `${group}:${start}`
}
