import type { DuckDBConnection, Json } from '@duckdb/node-api'
import type { WindowDefinition } from '../../../src/define-window.ts'
import { quoted } from '../../../src/ingest/decode/data-file-writer.ts'
import { assignedSql, mayBeLate, needsBoundaries } from '../../../src/ingest/window/assign.ts'
import { createBoundaries } from '../../../src/ingest/window/boundaries.ts'
import { TestDuckDb } from '../../support/duckdb.ts'

/** A row of a source table, as a lane judges it. `keep` is what a `where` may ask for. */
export interface Row {
  readonly partition?: number
  readonly group: string | null
  readonly keep: boolean | null
  readonly eventMs: number | null
  readonly clockMs: number | null
}

export interface Counted {
  readonly id: number
  readonly start: number
  readonly end: number
  readonly minEnd?: number | null
}

export interface Late {
  readonly id: number
  readonly windows: readonly (readonly [number, number])[]
  readonly counted: number
  readonly reason: string
}

/** Table of the boundaries that the last assignment needed. */
export const BOUNDARIES = 'odd "boundaries"'

const EVENT_TIME = { column: 'at', unit: 'ms', idleAfterMs: 0, maxFutureSkewMs: 0 } as const
/** A source without a bound. */
export const UNBOUND = { columns: [], eventTime: { ...EVENT_TIME, outOfOrdernessMs: 0 } }

/** Runs the SQL of assignment over rows. */
export class Assigner {
  readonly #duck: TestDuckDb

  private constructor(duck: TestDuckDb) {
    this.#duck = duck
  }

  static async open(): Promise<Assigner> {
    return new Assigner(await TestDuckDb.open())
  }

  get connection(): DuckDBConnection {
    return this.#duck.connection
  }

  close(): void {
    this.#duck.close()
  }

  async assign(
    definition: WindowDefinition,
    outOfOrdernessMs: number,
    rows: readonly Row[],
    fromMs?: number,
  ): Promise<{ counted: Counted[]; late: Late[]; mayBeLate: number[] }> {
    const values = rows.map(
      ({ group, keep, eventMs, clockMs }, id) =>
        `(${id}, ${group === null ? 'NULL' : `'${group}'`}, ${keep}, ${eventMs}, ${clockMs})`,
    )
    await this.connection
      .run(`CREATE OR REPLACE TEMP TABLE input AS SELECT id, grp::VARCHAR AS grp, keep::BOOLEAN AS keep, e::BIGINT AS __event_ms, c::BIGINT AS __clock_ms
FROM (VALUES (-1, NULL, NULL, NULL, NULL), ${values.join(', ')}) t(id, grp, keep, e, c) WHERE id >= 0`)
    if (needsBoundaries(definition.window))
      await createBoundaries(this.connection, definition.window, 'input', BOUNDARIES)
    const source = { columns: [], eventTime: { ...EVENT_TIME, outOfOrdernessMs } }
    const sql = assignedSql(definition, source, 'input', quoted(BOUNDARIES), fromMs)
    const counted = await this.#rows(`SELECT * FROM (${sql.counted}) ORDER BY id, __end`)
    const late = await this.#rows(`SELECT * FROM (${sql.late}) ORDER BY id`)
    const may = await this.#rows(`SELECT id FROM input WHERE ${mayBeLate(definition, source)} ORDER BY id`)
    return {
      counted: counted.map((row) => ({
        id: Number(row['id']),
        start: Number(row['__start']),
        end: Number(row['__end']),
        ...(row['__min_end'] === undefined
          ? {}
          : { minEnd: row['__min_end'] === null ? null : Number(row['__min_end']) }),
      })),
      late: late.map((row) => ({
        id: Number(row['id']),
        windows: (row['__late_windows'] as { start: string; end: string }[]).map(
          ({ start, end }) => [Number(start), Number(end)] as const,
        ),
        counted: Number(row['__counted_windows']),
        reason: String(row['__reason']),
      })),
      mayBeLate: may.map((row) => Number(row['id'])),
    }
  }

  async #rows(sql: string): Promise<Record<string, Json>[]> {
    return (await this.connection.runAndReadAll(sql)).getRowObjectsJson()
  }
}

/** Rows of a log in which every partition has a clock of its own (rule L1): the largest event time below an offset. */
export function clocked(log: readonly { readonly partition: number; readonly eventMs: number }[]): Row[] {
  const clocks = new Map<number, number>()
  return log.map(({ partition, eventMs }) => {
    const clockMs = clocks.get(partition) ?? null
    clocks.set(partition, Math.max(eventMs, clockMs ?? eventMs))
    return { partition, group: 'a', keep: true, eventMs, clockMs }
  })
}
