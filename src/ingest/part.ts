import type { PipelineDefinition, TableDefinition } from '../define.ts'
import type { WindowDefinition } from '../define-window.ts'
import { LakeError } from '../error.ts'

/** The part of a definition that builds some of its tables from the log. */
export interface Part {
  readonly definition: PipelineDefinition
  /** Source tables that only feed windows: neither their rows nor their dead letters are written. */
  readonly unwritten: ReadonlySet<string>
  /**
   * Source tables that are written for the sake of windows alone, and that those of the base take the place of once they
   * stand where it stands. They begin empty, as rebuilt tables do.
   */
  readonly temporary: ReadonlySet<string>
}

/**
 * The tables of `rebuilt`, source tables and windows by name, and the sources that its windows need.
 *
 * A source that is not rebuilt is read without being written wherever a record alone says what its windows see. That is
 * not so where a window is over rows, which takes old values back, and where a record may lack values, so that only its
 * key's row says whether it counts. What a restart must know of rows must stand somewhere: such a source is written, and
 * dropped when its windows have caught up with it.
 */
export function partOf(definition: PipelineDefinition, rebuilt: ReadonlySet<string>): Part {
  const windows = definition.windows.filter(({ name }) => rebuilt.has(name))
  const needed = new Set(windows.map(({ source }) => source))
  const tables = definition.tables.filter(({ name }) => rebuilt.has(name) || needed.has(name))
  const shared = tables.filter(({ name }) => !rebuilt.has(name))
  const temporary = shared.filter((table) => needsRows(table, windows))
  const unwritten = shared.filter((table) => !temporary.includes(table))
  return {
    definition: { ...definition, tables, windows },
    unwritten: namesOf(unwritten),
    temporary: namesOf(temporary),
  }
}

/**
 * All tables of a part without being written, and none of its windows: what reads event times between the nearest known
 * clocks and the start of a replay (rule R2).
 */
export function seedingOf({ definition }: Part): Part {
  const { tables } = definition
  return { definition: { ...definition, windows: [] }, unwritten: namesOf(tables), temporary: new Set() }
}

/**
 * Throws `config.unsupported` for windows that cannot begin in the middle of the log: sessions, of which none can be told
 * to begin before a clock, and windows over rows, whose old values stand before the start.
 */
export function assertSeedable({ definition }: Part): void {
  for (const { name, window, input } of definition.windows) {
    const what = window.kind === 'session' ? 'sessions' : input === 'rows' ? 'windows over rows' : undefined
    if (what === undefined) continue
    throw new LakeError('config.unsupported', `${name}: ${what} cannot be replayed from the middle of the log`, {
      context: { window: name },
      fix: `Replay ${name} from the beginning, or leave it out.`,
    })
  }
}

function needsRows({ name, key, missing, value }: TableDefinition, windows: readonly WindowDefinition[]): boolean {
  if (key.length === 0) return false
  if (missing === 'keep' || value === 'debezium') return true
  return windows.some(({ source, input }) => source === name && input === 'rows')
}

function namesOf(tables: readonly TableDefinition[]): ReadonlySet<string> {
  return new Set(tables.map(({ name }) => name))
}
