import { describe, expect, test } from 'vitest'
import { table, type PipelineDefinition, type TableOptions } from '../../src/define.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import { assertSeedable, partOf, seedingOf } from '../../src/ingest/part.ts'
import { changedTables, tableCodes } from '../../src/ingest/codes.ts'
import { windowOf } from '../support/window-cases.ts'

const source = (name: string, more: Partial<TableOptions> = {}) =>
  table(name, {
    from: { topic: name },
    columns: { at: 'long', g: 'string required', n: 'long' },
    eventTime: { column: 'at', unit: 'ms' },
    ...(more as object),
  })

const window = (name: string, of: string, more: Partial<WindowDefinition> = {}): WindowDefinition => ({
  ...windowOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, of),
  name,
  ...more,
})

const tables = [
  source('append'),
  source('keyed', { key: ['g'] }),
  source('versioned', { key: ['g'], version: 'n' }),
  source('keeping', { key: ['g'], missing: 'keep' }),
  source('unfed'),
]
const windows = [
  window('of_append', 'append'),
  window('of_keyed', 'keyed'),
  window('of_versioned', 'versioned'),
  window('over_rows', 'versioned', { input: 'rows' }),
  window('of_keeping', 'keeping'),
]
const PIPELINE: PipelineDefinition = { name: 'p', tables, windows, onDataLoss: 'stop' }

const partText = (...rebuilt: string[]): string => {
  const { definition, unwritten, temporary } = partOf(PIPELINE, new Set(rebuilt))
  const names = (all: readonly { name: string }[]): string => all.map(({ name }) => name).join(' ')
  return `${names(definition.tables)} > ${names(definition.windows)} unwritten ${[...unwritten].join(' ')} temporary ${[...temporary].join(' ')}`
}

describe('the part of a definition that is rebuilt', () => {
  test.each([
    [['append'], 'append >  unwritten  temporary '],
    [['of_append'], 'append > of_append unwritten append temporary '],
    [['append', 'of_append'], 'append > of_append unwritten  temporary '],
    [['of_keyed', 'unfed'], 'keyed unfed > of_keyed unwritten keyed temporary '],
    [['of_versioned'], 'versioned > of_versioned unwritten versioned temporary '],
    // Old values, and what says whether a record without values counts, must stand somewhere.
    [['over_rows', 'of_versioned'], 'versioned > of_versioned over_rows unwritten  temporary versioned'],
    [['of_keeping'], 'keeping > of_keeping unwritten  temporary keeping'],
    [['keeping', 'of_keeping'], 'keeping > of_keeping unwritten  temporary '],
    [[], ' >  unwritten  temporary '],
  ])('%s', (rebuilt, wanted) => {
    expect(partText(...rebuilt)).toBe(wanted)
  })

  test('event times are read of all its tables, and nothing is written', () => {
    const { definition, unwritten, temporary } = seedingOf(partOf(PIPELINE, new Set(['over_rows', 'unfed'])))
    expect(definition.tables.map(({ name }) => name)).toEqual(['versioned', 'unfed'])
    expect([definition.windows.length, [...unwritten], temporary.size]).toEqual([0, ['versioned', 'unfed'], 0])
  })

  test('sessions and windows over rows begin at the beginning', () => {
    const of = (window: WindowDefinition) => partOf({ ...PIPELINE, windows: [window] }, new Set([window.name]))
    expect(() => assertSeedable(of(windows[0]!))).not.toThrow()
    for (const bad of [window('s', 'append', { window: { kind: 'session', gapMs: 5 } }), windows[3]!])
      expect(() => assertSeedable(of(bad))).toThrow(
        expect.objectContaining({ code: 'config.unsupported', context: { window: bad.name } }),
      )
  })
})

test('code is told of source tables and windows, whatever they are called', () => {
  const named = { ...PIPELINE, tables: [source('constructor')], windows: [window('toString', 'constructor')] }
  const codes = tableCodes(named)
  expect([...codes.keys()]).toEqual(['constructor', 'toString'])
  const made = (code: string) => ({ metadata: 'm', snapshot: undefined, code })
  expect(changedTables(named, { tables: {} })).toEqual(['constructor', 'toString'])
  const tables = Object.fromEntries([...codes].map(([name, code]) => [name, made(code)]))
  expect(changedTables(named, { tables })).toEqual([])
  expect(changedTables(named, { tables: { ...tables, toString: made('x') } })).toEqual(['toString'])
})
