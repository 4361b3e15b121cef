import { afterEach, describe, expect, test } from 'vitest'
import { aggregate, FoldHarness, type Counted, type Step } from './fold-harness.ts'
import type { WindowDefinition } from '../../../src/define-window.ts'

const open: FoldHarness[] = []
afterEach(async () => {
  for (const harness of open.splice(0)) await harness.close()
})

async function harnessOf(parts: Partial<WindowDefinition>): Promise<FoldHarness> {
  const harness = await FoldHarness.open(parts)
  open.push(harness)
  return harness
}

/** Records of one group in tumbling windows of 10. */
function tumbling(times: readonly number[], g = 'a'): Counted[] {
  return times.map((ts) => {
    const start = Math.floor(ts / 10) * 10
    return { g, v: ts, ts, start, end: start + 10 }
  })
}

/** `g [start,end) n final corrections`, as the table has it, in the order of keys. */
function rows(harness: FoldHarness): string[] {
  return harness.results.rows
    .map(
      (row) =>
        `${String(row['g'])} [${String(row['window_start'])},${String(row['window_end'])}) ${String(row['n'])} ${row['_final'] === true ? 'final' : 'open'} ${String(row['_corrections'])}`,
    )
    .toSorted()
}

describe('finality', () => {
  test('C2: a row is final from C = end - 1 + L on', async () => {
    const harness = await harnessOf({ allowedLatenessMs: 3 })
    await harness.fold({ batches: [tumbling([1, 4])], watermarkMs: 11 })
    expect(rows(harness)).toEqual(['a [0,10) 2 open 0'])
    await harness.fold({ watermarkMs: 12 })
    expect(rows(harness)).toEqual(['a [0,10) 2 final 0'])
  })
})
