import { describe, expect, test } from 'vitest'
import { defineLake, table, tumbling, t, type LakeDefinition, type MapFunction } from '../../src/define.ts'
import { LakeError } from '../../src/error.ts'
import { testLake, type Lab, type LabOptions } from '../../src/testing.ts'

// What `holds` is for: code that gives other rows when the same records are run in another way is caught, with where and
// what in words; and code that does not is let through, whatever the seed.

const columns = { id: t.string().required(), v: t.long(), n: t.long(), at: t.timestamptz('ms') }
const eventTime = { column: 'at', outOfOrderness: '1s' } as const

function events(map?: MapFunction): LakeDefinition {
  return defineLake({ p: [table('events', { from: { topic: 'e' }, columns, ...(map === undefined ? {} : { map }) })] })
}

async function using<T>(lake: LakeDefinition, work: (lab: Lab) => Promise<T>, options: LabOptions = {}): Promise<T> {
  const lab = await testLake(lake, { seed: 7, ...options })
  try {
    return await work(lab)
  } finally {
    await lab.close()
  }
}

async function produce(lab: Lab, count = 12): Promise<void> {
  for (let k = 0; k < count; k++)
    await lab.produce('events', [{ id: `r${k}`, v: k, at: 60_000 + 1_000 * k }], { partition: k % 3 })
}

/** The refusal of a lab over a definition, after a dozen records of three partitions. */
async function refusal(lake: LakeDefinition, given = produce): Promise<LakeError> {
  return using(lake, async (lab) => {
    await given(lab)
    const error = await lab.holds().then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(LakeError)
    expect((error as LakeError).code).toBe('testing.does_not_hold')
    return error as LakeError
  })
}

/** What functions keep between records is in their realm: there is nothing else in their reach. */
declare const kept: { n?: number; before?: number }

describe('what is caught', () => {
  test('a function that counts', async () => {
    const error = await refusal(
      events((row) => {
        const realm = globalThis as unknown as typeof kept
        realm.n = (realm.n ?? 0) + 1
        return { ...row, n: realm.n }
      }),
    )
    expect(error.message).toMatch(
      /^the pipeline p gives other rows for the same records \(seed 7\)\n {2}.*\n {2}table events, row \{.*\}: .*\n {2}.* differ/,
    )
    expect(error.context).toMatchObject({ pipeline: 'p', seed: 7, table: 'events' })
  })

  test('a function that knows the record before', async () => {
    const error = await refusal(
      events((row) => {
        const realm = globalThis as unknown as typeof kept
        const n = row['v'] - (realm.before ?? 0)
        realm.before = row['v']
        return { ...row, n }
      }),
    )
    expect(error.message).toContain('table events')
    expect(error.message).toContain('look for a function that keeps something between records')
  })

  test('a function that fails now and then: other dead letters', async () => {
    const error = await refusal(
      events((row) => {
        const realm = globalThis as unknown as typeof kept
        realm.n = (realm.n ?? 0) + 1
        if (realm.n % 5 === 0) throw new Error('every fifth')
        return row
      }),
    )
    expect(error.message).toMatch(/2 tables differ|of 2 tables differ/)
  })

  test.each([
    ['a clock on the wall', (row: object) => ({ ...row, n: Date.now() }), 'Date.now'],
    ['chance', (row: object) => ({ ...row, n: Math.floor(1e6 * Math.random()) }), 'Math.random'],
  ])('%s', async (_, map, what) => {
    const error = await refusal(events(map))
    expect(error.message).toContain(`the pipeline p stops (seed 7)\n  run 1: `)
    expect(error.message).toContain(`transform.map_refused: events.map: ${what} gives another value in a replay`)
    expect(error.fix).toContain('Compute the row from the record alone')
  })

  test('a window over what a function makes of the record before', async () => {
    const source = table('events', {
      from: { topic: 'e' },
      columns,
      eventTime,
      map: (row) => {
        const realm = globalThis as unknown as typeof kept
        realm.n = (realm.n ?? 0) + 1
        return { ...row, at: row['at'] - (realm.n % 4 === 3 ? 3_600_000 : 0) }
      },
    })
    const window = tumbling('w', source, { size: '5s', select: ({ count }) => ({ n: count() }) })
    const error = await refusal(defineLake({ p: [source, window] }))
    expect(error.message).toMatch(/of [3] tables differ|3 tables differ/)
  })

  test('what is final, where all else is equal: a clock that a function moves now and then', async () => {
    const source = table('events', {
      from: { topic: 'e' },
      columns,
      eventTime,
      store: false,
      map: (row) => {
        const realm = globalThis as unknown as typeof kept
        realm.n = (realm.n ?? 0) + 1
        // Of a record that no window counts: nothing but its event time says that it was there.
        return row['id'] === 'tick' && realm.n < 13 ? { ...row, at: 60_000 } : row
      },
    })
    const window = tumbling('w', source, { size: '5s', where: "id <> 'tick'", select: ({ count }) => ({ n: count() }) })
    const error = await refusal(defineLake({ p: [source, window] }), async (lab) => {
      await produce(lab)
      for (let partition = 0; partition < 3; partition++)
        await lab.produce('events', [{ id: 'tick', v: 0, at: 120_000 }], { partition })
    })
    expect(error.message).toMatch(
      /table w, row \{.*\}: _final is (true|false), and was (true|false) in the plain run\n/,
    )
  })

  const keyed = table('events', { from: { topic: 'e', key: 'string' }, columns, key: ['id'] })

  test('a key in two partitions without a version', async () => {
    const error = await refusal(defineLake({ p: [keyed] }), async (lab) => {
      await lab.produce(keyed, [{ id: 'a', v: 1 }], { partition: 0 })
      await lab.produce(keyed, [{ id: 'a', v: 2 }], { partition: 1 })
      await expect(lab.rows(keyed)).rejects.toMatchObject({ code: 'upsert.key_in_two_partitions' })
    })
    expect(error.message).toContain('upsert.key_in_two_partitions')
    expect(error.fix).toMatch(/version/)
  })

  test('a key that moved to another partition, where the order of production hides it', async () => {
    const error = await refusal(defineLake({ p: [keyed] }), async (lab) => {
      for (let k = 0; k < 4; k++) {
        await lab.produce(keyed, [{ id: `a${k}`, v: 1 }, null], { partition: 0, key: `a${k}` })
        await lab.produce(keyed, [{ id: `a${k}`, v: 2 }], { partition: 1 })
      }
      expect(await lab.rows(keyed)).toHaveLength(4)
    })
    expect(error.message).toContain('upsert.key_in_two_partitions')
    expect(error.message).not.toContain('run 1:')
  })
})

test('the same seed, the same runs', async () => {
  const counting = events((row) => {
    const realm = globalThis as unknown as typeof kept
    realm.n = (realm.n ?? 0) + 1
    return { ...row, n: realm.n }
  })
  const [first, second] = [await refusal(counting), await refusal(counting)]
  expect(second.message).toBe(first.message)
})

test('a limit of time leaves runs out', async () => {
  await using(events(), async (lab) => {
    await produce(lab, 3)
    expect(await lab.holds({ timeMs: 0 })).toMatchObject([{ seed: 7, records: 3, runs: 1 }])
  })
})
