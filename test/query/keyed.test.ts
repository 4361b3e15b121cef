import { afterEach, describe, expect, test } from 'vitest'
import type { Engine } from '../../src/query/engine.ts'
import { makeKeyedLake, type Change, type KeyedLake, type KeyedRow } from './keyed-lake.ts'

let closing: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of closing.toReversed()) await each.close()
  closing = []
})

async function start(kind: 'local' | 'memory'): Promise<{ lake: KeyedLake; engine: Engine }> {
  const lake = await makeKeyedLake(kind)
  const engine = await lake.openEngine()
  closing.push(lake, engine)
  return { lake, engine }
}

/** Some keys over and over, some deleted, some twice in one commit. */
function changes(round: number): Change[] {
  return Array.from({ length: 40 }, (_, k) => {
    const id = BigInt(round % 2 === 0 ? (k * 7 + round) % 30 : 100 * round + k)
    return { id, amount: (k + round) % 9 === 0 ? undefined : BigInt(k * 100 + round), note: `round ${round}` }
  })
}

const sorted = (rows: ReadonlyMap<bigint, KeyedRow>) => [...rows.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))

describe.each(['local', 'memory'] as const)('a keyed table in a %s store', (kind) => {
  test('every version shows the current row of each key, whatever is asked', async () => {
    const { lake, engine } = await start(kind)
    for (let round = 0; round < 6; round++) await lake.commit(changes(round))
    for (const [version, state] of lake.states) {
      const asOf = `shop@${version}`
      const rows = sorted(state)
      const all = await engine.rows({ sql: 'SELECT id, _offset AS o FROM orders ORDER BY id', asOf })
      expect(all).toEqual(rows.map(({ id, offset }) => ({ id, o: offset })))
      const ask = async (sql: string) => (await engine.rows({ sql, asOf }))[0]!['n']
      expect(await ask('SELECT count(*) n FROM orders')).toBe(BigInt(rows.length))
      const some = rows.filter(({ id, note }) => id >= 10n && id < 320n && note !== 'round 2')
      expect(await ask(`SELECT count(*) n FROM orders WHERE id >= 10 AND id < 320 AND note <> 'round 2'`)).toBe(
        BigInt(some.length),
      )
      expect(await ask('SELECT sum(amount * 100)::BIGINT n FROM orders o WHERE 12 > o.id')).toBe(
        rows.filter(({ id }) => id < 12n).reduce((sum, { amount }) => sum + amount, 0n),
      )
      expect(await ask('SELECT count(*) n FROM orders a JOIN orders b USING (id) WHERE a.id = 3 AND b.id < 9')).toBe(
        state.has(3n) ? 1n : 0n,
      )
    }
  })
})
