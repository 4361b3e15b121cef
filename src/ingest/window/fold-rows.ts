import { SYSTEM_COLUMNS } from '../../batch.ts'
import { windowCodeHash } from '../../define-code.ts'
import { LakeError } from '../../error.ts'
import type { WritePlan } from '../../lake/table.ts'
import { literal, quoted } from '../decode/data-file-writer.ts'
import { sqlType } from '../table-work/stored-sql.ts'
import { assignedSql, LATE_COLUMNS, mayBeLate, needsBoundaries } from './assign.ts'
import { createBoundaries } from './boundaries.ts'
import { CHANGE, CHANGE_COLUMNS, changeColumns, rowShapeOf, type RowShape } from './change-columns.ts'
import type { FoldDatabase } from './fold-database.ts'
import { list, MIN_END, type Relations, same } from './fold-relations.ts'
import { OldValues } from './old-values.ts'
import { overflowError } from './lane-windows.ts'
import { LANE_COLUMNS } from './window.ts'
import { partialsSql, SIGN_COLUMN, sqlTypeOf } from '../../window/sql.ts'

const SIGN = quoted(SIGN_COLUMN)
const { order: ORDER, key: KEY, kind: KIND, version: VERSION, rest: REST } = CHANGE_COLUMNS
const { partition: PARTITION, offset: OFFSET } = SYSTEM_COLUMNS
const { event: EVENT, clock: CLOCK } = LANE_COLUMNS

/** Halves that no window took, of one fold. */
export interface LateHalves {
  /** Rows of the late file. */
  readonly rows: number
  readonly late: number
  readonly lateAssignments: number
  readonly failed: number
  /** The query that gives them, with the columns of the late table. */
  rowsSql(plan: WritePlan): string
}

export interface StagedRows extends LateHalves {
  readonly retractOfUnknown: number
}

/**
 * Turns what operations do to the rows of a keyed table into signed partials (rules A1, A2): each change of a row takes
 * the old values back and counts the new ones, both judged by the clock of the record that brought it. Old values live in
 * a relation beside the cells (rule A7).
 *
 *   change files ─▶ changes ─▶ chain (rows of each key, one after the other) ─▶ halves ─▶ counted ─▶ staged
 *                   old values ──┘        └──▶ old values                         └─▶ late_halves
 */
export class FoldedRows {
  readonly old: OldValues
  readonly #database: FoldDatabase
  readonly #relations: Relations
  readonly #shape: RowShape
  readonly #read: readonly string[]

  constructor(database: FoldDatabase, relations: Relations, number: number) {
    this.#database = database
    this.#relations = relations
    this.#shape = rowShapeOf(relations.definition, relations.source)
    this.#read = this.#shape.read.map(({ name }) => quoted(name))
    this.old = new OldValues(database, relations, this.#shape, {
      table: `old_${number}`,
      max: relations.definition.oldValuesMax,
    })
  }

  /**
   * Fills `staged`. `goneUntil`: windows that end until then left the fold; others take over what comes for them. Throws
   * `upsert.key_in_two_partitions`, `window.old_values_max`, `aggregate.overflow`.
   */
  async stage(files: readonly string[], goneUntil: number | undefined): Promise<StagedRows> {
    this.old.replaced = 0
    if (files.length === 0) return NOTHING
    try {
      return await this.#stage(files, goneUntil)
    } catch (error) {
      throw overflowError(this.#relations.definition, error)
    }
  }

  async #stage(files: readonly string[], goneUntil: number | undefined): Promise<StagedRows> {
    const { definition, shape, source } = this.#relations
    const database = this.#database
    await this.#readChanges(files)
    await this.#makeChain()
    await this.#makeHalves()
    const boundaries = needsBoundaries(definition.window) ? 'boundaries' : undefined
    if (boundaries !== undefined) await createBoundaries(database.connection, definition.window, 'halves', boundaries)
    const rest = this.#shape.rest.length === 0 ? '' : ` EXCLUDE (${REST})`
    const { counted } = assignedSql(definition, source, `SELECT *${rest} FROM halves`, boundaries)
    await database.temporary('counted', counted)
    const retractOfUnknown = await this.#dropUnknown(goneUntil)
    await database.run(`INSERT INTO staged ${partialsSql(shape, 'rows', 'counted')}`)
    const late = await this.#late(boundaries)
    await this.old.replace('chain')
    return { ...late, retractOfUnknown }
  }

  /** `changes`: the operations of all files, in the order in which they were folded. */
  async #readChanges(files: readonly string[]): Promise<void> {
    const database = this.#database
    const columns = changeColumns(this.#shape)
    const rest = columns.filter(({ name }) => name !== ORDER)
    const order = `CAST(file_index AS BIGINT) * 4294967296 + ${ORDER}`
    const values = rest.map(({ name, type }) => `CAST(${quoted(name)} AS ${sqlTypeOf(type)}) AS ${quoted(name)}`)
    await database.temporary(
      'changes',
      `SELECT ${[`${order} AS ${ORDER}`, ...values].join(', ')} FROM read_parquet([${files.map(literal).join(', ')}])`,
    )
    const [truncates] = await database.numbers(`SELECT count(*) FROM changes WHERE ${KIND} = ${CHANGE.truncate}`)
    if (truncates === 0) return
    // A truncation deletes each key that is known; one that has no row is deleted in vain.
    const given = [ORDER, PARTITION, OFFSET, CLOCK]
    await database.run(
      `INSERT INTO changes (${list([...given, KEY, KIND])})
SELECT ${list(given, 't')}, k.${KEY}, ${CHANGE.delete} FROM changes t, (SELECT ${KEY} FROM ${this.old.table} UNION SELECT ${KEY} FROM changes WHERE ${KIND} <> ${CHANGE.truncate}) k
WHERE t.${KIND} = ${CHANGE.truncate}`,
    )
    await database.run(`DELETE FROM changes WHERE ${KIND} = ${CHANGE.truncate}`)
  }

  /**
   * `chain`: of each key that is touched what it had (`__seed`), then what it got, one row after the other, without what
   * lost against a later version (rule U2). A row knows whether it `__changed` what the window sees, whether its successor
   * does, and whether what it has was there before this fold (`__old`).
   */
  async #makeChain(): Promise<void> {
    const { isVersioned, holes, hasEventHoles, readsPosition, rest } = this.#shape
    const read = this.#shape.read
    const version = isVersioned ? [VERSION] : []
    const restColumn = rest.length === 0 ? [] : [REST]
    const wrapped = [wrap(EVENT, hasEventHoles), ...read.map(({ name }) => wrap(quoted(name), holes.has(name)))]
    const plain = [EVENT, ...this.#read]
    const seeds = `SELECT -1 AS ${ORDER}, true AS __seed, __alive, ${list([KEY, PARTITION, OFFSET, ...version])}, NULL AS ${CLOCK}, ${list(wrapped)}${restColumn.map(() => `, NULL AS ${REST}`).join('')}
FROM ${this.old.table} SEMI JOIN changes USING (${KEY})`
    const news = `SELECT ${ORDER}, false, ${KIND} = ${CHANGE.upsert}, ${list([KEY, PARTITION, OFFSET, ...version, CLOCK, ...plain, ...restColumn])} FROM changes`
    const within = `PARTITION BY ${KEY} ORDER BY ${ORDER}`
    const before = 'ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING'
    let from = `(${seeds} UNION ALL ${news})`
    if (isVersioned) {
      await this.#refuseTwoPartitions(from)
      const won = `__seed OR ${VERSION} IS NULL OR __before IS NULL OR ${VERSION} >= __before`
      from = `(SELECT * EXCLUDE (__before) FROM (SELECT *, max(${VERSION}) OVER (${within} ${before}) AS __before FROM ${from}) WHERE ${won})`
    }
    const lacked = [...(hasEventHoles ? [EVENT] : []), ...[...holes].map(quoted)]
    if (lacked.length > 0) {
      const resolved = lacked.map((c) => `(last_value(${c} IGNORE NULLS) OVER (${within}))[1] AS ${c}`)
      from = `(SELECT * REPLACE (${resolved.join(', ')}) FROM ${from})`
    }
    const seen = [...plain, ...(readsPosition ? [PARTITION, OFFSET] : [])]
    const differs = seen.map((c) => `${c} IS DISTINCT FROM lag(${c}) OVER keys`).join(' OR ')
    const wasAlive = 'coalesce(lag(__alive) OVER keys, false)'
    const changed = `NOT __seed AND (__alive <> ${wasAlive} OR (__alive AND (${differs})))`
    const next = `coalesce(lead(__changed) OVER keys, false) AS __next_changed, lead(${CLOCK}) OVER keys AS __next_clock, lead(${KEY}) OVER keys IS NULL AS __last, NOT coalesce(bool_or(__changed) OVER keys, false) AS __old`
    const latest = isVersioned ? `, max(${VERSION}) OVER (${within}) AS __latest` : ''
    await this.#database.temporary(
      'chain',
      `SELECT *, ${next}${latest} FROM (SELECT *, ${changed} AS __changed FROM ${from} WINDOW keys AS (${within})) WINDOW keys AS (${within})`,
    )
  }

  /** Rule A2: whether a late retraction found the old row would otherwise depend on what came first. */
  async #refuseTwoPartitions(rows: string): Promise<void> {
    const [found] = await this.#database.rows(
      `SELECT min(${PARTITION}), max(${PARTITION}) FROM ${rows} GROUP BY ${KEY} HAVING min(${PARTITION}) <> max(${PARTITION}) LIMIT 1`,
    )
    if (found === undefined) return
    const { definition, source } = this.#relations
    throw new LakeError(
      'upsert.key_in_two_partitions',
      `${source.name}: a key came from partitions ${found.join(' and ')}, and ${definition.name} is a window over its rows`,
      {
        context: { table: source.name, window: definition.name, partitions: found },
        fix: 'Key the topic by the key of the table, so that each key stays in one partition, or take input: events.',
      },
    )
  }

  /** `halves`: what is taken back, with the clock of the record that does it, and what is counted. */
  async #makeHalves(): Promise<void> {
    const values = [PARTITION, OFFSET, EVENT, ...this.#read]
    const rest = this.#shape.rest.length === 0 ? [] : [REST]
    await this.#database.temporary(
      'halves',
      `SELECT CAST(1 AS BIGINT) AS ${SIGN}, false AS __old, ${list([...values, CLOCK, ...rest])} FROM chain WHERE __alive AND __changed
UNION ALL
SELECT -1, __old, ${list([...values, '__next_clock', ...rest.map(() => 'NULL')])} FROM chain WHERE __alive AND __next_changed`,
    )
  }

  /** A row that was counted before this fold has a cell. Without one there is nothing to take it back from. */
  async #dropUnknown(goneUntil: number | undefined): Promise<number> {
    const { cells, key, cellEnd } = this.#relations
    // A row may be taken back from other windows of a slice than those that it was counted for.
    const cell = key.filter((name) => name !== MIN_END)
    const isHere = goneUntil === undefined ? 'true' : `${cellEnd} > ${goneUntil}`
    await this.#database.temporary(
      'unknown',
      `SELECT h.__rid FROM (SELECT *, rowid AS __rid FROM counted WHERE ${SIGN} < 0 AND __old AND ${isHere}) h
ANTI JOIN ${cells} c ON ${same('h', 'c', cell)}`,
    )
    const [unknown] = await this.#database.numbers('SELECT count(*) FROM unknown')
    if (unknown! > 0) await this.#database.run('DELETE FROM counted WHERE rowid IN (SELECT __rid FROM unknown)')
    return unknown!
  }

  async #late(boundaries: string | undefined): Promise<LateHalves> {
    const { definition, source } = this.#relations
    const database = this.#database
    const [candidates] = await database.numbers(`SELECT count(*) FROM halves WHERE ${mayBeLate(definition, source)}`)
    if (candidates === 0) return NOTHING
    await database.temporary('late_halves', assignedSql(definition, source, 'halves', boundaries).late)
    const { lateWindows, countedWindows, reason } = LATE_COLUMNS
    const [rows, late, lateAssignments, failed] = await database.numbers(
      `SELECT count(*), count(*) FILTER (WHERE ${reason} = 'late' AND ${countedWindows} = 0), coalesce(sum(len(${lateWindows})), 0), count(*) FILTER (WHERE ${reason} = 'expression_failed') FROM late_halves`,
    )
    const rowsSql = (plan: WritePlan): string => this.#lateRowsSql(plan)
    return { rows: rows!, late: late!, lateAssignments: lateAssignments!, failed: failed!, rowsSql }
  }

  /** Of what is taken back only what the window reads is known (rule E5). */
  #lateRowsSql(plan: WritePlan): string {
    const { definition, source } = this.#relations
    const { lateWindows, countedWindows, reason } = LATE_COLUMNS
    const values = new Map([
      ...[PARTITION, OFFSET, ...this.#shape.read.map(({ name }) => name)].map((name) => [name, quoted(name)] as const),
      ...this.#shape.rest.map(({ name }) => [name, `${REST}.${quoted(name)}`] as const),
      ['_topic', literal(source.topic)],
      ['_event_time', instant(EVENT)],
      ['_clock', instant(CLOCK)],
      ['_late_windows', `[{'start': ${instant('w.start')}, 'end': ${instant('w."end"')}} FOR w IN ${lateWindows}]`],
      ['_counted_windows', countedWindows],
      ['_weight', SIGN],
      ['_reason', reason],
      ['_code_hash', literal(windowCodeHash(definition, source))],
    ])
    const columns = plan.schema.fields.map(
      ({ name, type }) => `CAST(${values.get(name) ?? 'NULL'} AS ${sqlType(type)}) AS ${quoted(name)}`,
    )
    return `SELECT ${columns.join(', ')} FROM late_halves ORDER BY ${[PARTITION, OFFSET, SIGN].join(', ')}`
  }
}

/** As change files have what a record may lack: in a list. */
function wrap(column: string, isHole: boolean): string {
  return isHole ? `[${column}] AS ${column}` : column
}

function instant(milliseconds: string): string {
  return `make_timestamptz(${milliseconds} * 1000)`
}

const NOTHING: StagedRows = {
  rows: 0,
  late: 0,
  lateAssignments: 0,
  failed: 0,
  retractOfUnknown: 0,
  rowsSql: () => {
    throw new LakeError('internal', 'nothing is late')
  },
}
