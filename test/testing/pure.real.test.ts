import { expect, test } from 'vitest'
import { cumulate, defineLake, hopping, session, t, table, tumbling } from '../../src/define.ts'
import { testLake } from '../../src/testing.ts'
import { Random } from '../../src/testing/random.ts'

// Definitions of which every row follows from the log hold, whatever the seed: no false alarm. `LAB_SEEDS=50` tries more.

const SEEDS = Number(process.env['LAB_SEEDS'] ?? 1)

const columns = {
  id: t.string().required(),
  g: t.string(),
  v: t.long(),
  at: t.timestamptz('ms'),
  rev: t.long(),
  twice: t.long().as('v * 2'),
}
const { twice: _, ...plain } = columns
const eventTime = { column: 'at', outOfOrderness: '2s', idleAfter: '10s' } as const
const topic = 'e'

const rows = table('rows', {
  from: { topic },
  columns,
  eventTime,
  where: "g <> 'dropped'",
  map: (row) => (row['v'] === 13 ? null : { ...row, v: row['v'] === undefined ? undefined : row['v'] + 1 }),
})
const current = table('current', { from: { topic, key: 'string' }, columns, eventTime, key: ['id'] })
const kept = table('kept', { from: { topic, key: 'string' }, columns: plain, eventTime, key: ['id'], missing: 'keep' })
const revised = table('revised', { from: { topic, key: 'none' }, columns, eventTime, key: ['g'], version: 'rev' })
const select = { n: 'count()', total: 'sum(v)', lowest: 'min(v)', newest: 'last(id)', kinds: 'count(distinct id)' }
const windows = [
  tumbling('by_5s', rows, { size: '5s', groupBy: ['g'], allowedLateness: '1s', select }),
  hopping('sliding', rows, { size: '20s', slide: '2s', select }),
  session('sessions', rows, { gap: '3s', groupBy: ['g'], emit: 'close', select }),
  cumulate('growing', rows, { step: '5s', max: '20s', select }),
  tumbling('standing', current, { size: '10s', input: 'rows', groupBy: ['g'], select }),
  tumbling('rare', rows, { size: '10s', early: '1m', retain: '1m', select }),
]
const lake = defineLake({
  plain: [rows, windows[0]!, windows[3]!],
  // A table of another pipeline has another name, and reads the same topic.
  keyed: [current, kept, revised, windows[4]!],
})
const wide = defineLake({ plain: [rows, windows[1]!, windows[2]!, windows[5]!] })

const small = defineLake({
  plain: [rows, tumbling('counted', rows, { size: '5s', groupBy: ['g'], select: { n: 'count()', total: 'sum(v)' } })],
})

const PARTITIONS = 3

async function holdsFor(seed: number, definition: typeof lake): Promise<void> {
  const random = new Random(seed, 'records')
  await using lab = await testLake(definition, { seed, partitions: PARTITIONS })
  let atMs = Date.parse('2026-03-02T10:00:00Z')
  for (let k = 0; k < 20; k++) {
    atMs += random.int(3_000)
    // A key keeps to its partition; some records are late, some poison, some tombstones.
    const key = random.int(6)
    const options = { partition: key % PARTITIONS, key: `k${key}`, timestamp: atMs }
    const what = random.next()
    const source = definition.pipelines[0]!.tables[0]!
    if (what < 0.08) await lab.produceRaw(source, [{ key: `k${key}`, value: '{"id": 7' }], options)
    else if (what < 0.16) await lab.produce(source, [null], options)
    else {
      const g = random.pick(['a', 'b', 'c', 'dropped', undefined])
      const late = random.chance(0.15) ? 30_000 : random.int(4_000)
      const row = { id: `k${key}`, g, v: random.pick([1, 5, 13, undefined]), at: atMs - late, rev: random.int(4) }
      await lab.produce(source, [row], options)
    }
    if (random.chance(0.1)) await lab.tick('1m')
  }
  const held = await lab.holds({ runs: 3 })
  expect(held.map(({ runs }) => runs)).toEqual(definition.pipelines.map(() => 3))
}

for (const [name, definition] of Object.entries({ small, lake, wide }))
  test.each(Array.from({ length: SEEDS }, (_, k) => k + 1))(`${name} holds for seed %i`, { timeout: 600_000 }, (seed) =>
    holdsFor(seed, definition),
  )
