import { describe, expect, test } from 'vitest'
import { table, type TableDefinition } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'
import { checkPipelines } from '../../src/define-check.ts'
import type { LookupOptions } from '../../src/define-lookup.ts'

const RANGE = { value: 'ip', from: 'first', to: 'last' }
const GEO: LookupOptions = { table: 'ranges', at: 7, between: RANGE, select: ['country'] }

const of = (lookup: Readonly<Record<string, object>>, more: object = {}): TableDefinition =>
  table('visits', {
    from: { topic: 'visits' },
    columns: { id: 'string required', ip: 'long', country: 'string = geo.country' },
    lookup: lookup as Readonly<Record<string, LookupOptions>>,
    ...more,
  })

test('is the same in YAML, and in any order', () => {
  const plan = { table: 'plans', at: '3', on: { b: 'id', a: 'upper(id)' }, select: ['name'] }
  const columns = { id: 'string required', ip: 'long', country: 'string = geo.country', plan: 'string = plan_of.name' }
  const written = of({ plan_of: plan, geo: GEO }, { columns })
  expect(written.lookup).toEqual([
    { name: 'geo', table: 'ranges', version: '7', on: [], between: RANGE, select: ['country'] },
    {
      name: 'plan_of',
      table: 'plans',
      version: '3',
      on: [
        ['a', 'upper(id)'],
        ['b', 'id'],
      ],
      select: ['name'],
    },
  ])
  const yaml = { from: { topic: 'visits' }, columns, lookup: { geo: GEO, plan_of: plan } }
  expect(checkPipelines({ p: { tables: { visits: yaml } } }, []).pipelines[0]!.tables[0]).toEqual(written)
})

test('the version is part of the code', () => {
  expect(codeHash(of({ geo: GEO }))).toBe(codeHash(of({ geo: { ...GEO, at: '7' } })))
  expect(codeHash(of({ geo: GEO }))).not.toBe(codeHash(of({ geo: { ...GEO, at: 8 } })))
})

describe('refused', () => {
  test.each([
    [{ geo: { ...GEO, at: 0 } }, /not the number of a version/],
    [{ geo: { ...GEO, at: 'newest' } }, /not the number of a version/],
    [{ geo: { table: 'ranges', at: 7, select: ['country'] } }, /which row is looked up/],
    [{ geo: { ...GEO, select: [] } }, /names no column/],
    [{ geo: { ...GEO, select: ['a', 'a'] } }, /stands twice/],
    [{ ip: GEO }, /is a column of the table too/],
    [{ geo: GEO, other: GEO }, /is read by no computed column/],
    [{ geo: { ...GEO, between: { ...RANGE, value: 'country' } } }, /reads "country", which is computed too/],
    [{ geo: { ...GEO, between: { ...RANGE, value: 'geo.country' } } }, /computed too/],
    [{ geo: { ...GEO, between: { ...RANGE, value: '(SELECT 1)' } } }, /computed from one row alone/],
    [{ geo: { ...GEO, on: { a: '' } } }, /expression is empty/],
    [{ geo: { ...GEO, of: 1 } }, /there is no key "of"/],
  ])('%o', (lookup, message) => {
    expect(() => of(lookup)).toThrow(message)
  })

  test('what a record may leave as it is', () => {
    const more = { key: ['id'], missing: 'keep' as const }
    expect(() => of({ geo: GEO }, more)).toThrow(/may leave as it is/)
  })
})
