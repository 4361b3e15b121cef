import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LiveRows } from '../../../src/ingest/window/live-rows.ts'
import { DeletedRows, type DataFile } from '../../../src/lake/table.ts'

const file = (key: string, recordCount: number): DataFile => ({
  key,
  recordCount,
  fileSizeBytes: 1,
  partition: [],
  metrics: new Map(),
})

/** A table as rows by file: what the table would hold after each commit. */
class Table {
  readonly files = new Map<string, { readonly count: number; dead: Set<number> }>()

  commit(live: LiveRows): void {
    const { added, deletes, removed } = live.change()
    for (const { key, recordCount } of added) this.files.set(key, { count: recordCount, dead: new Set() })
    for (const { file, rows } of deletes) {
      const stands = this.files.get(file.key)!
      const dead = new Set(rows.positions())
      for (const row of stands.dead) expect(dead.has(row)).toBe(true)
      stands.dead = dead
    }
    for (const key of removed) expect(this.files.delete(key)).toBe(true)
    live.committed()
    expect(live.change()).toEqual({ kind: 'write', added: [], deletes: [], removed: [] })
  }

  get alive(): string[] {
    return [...this.files].flatMap(([key, { count, dead }]) =>
      Array.from({ length: count }, (_, row) => row).flatMap((row) => (dead.has(row) ? [] : [`${key}:${row}`])),
    )
  }
}

test('what a commit writes is what died and came, also across compactions', () => {
  const step = fc.record({
    rows: fc.nat(40),
    deaths: fc.array(fc.nat(1_000), { maxLength: 30 }),
    compacted: fc.option(fc.record({ share: fc.integer({ min: 1, max: 4 }), late: fc.nat(20) }), { nil: undefined }),
  })
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const live = new LiveRows('w', [])
      const table = new Table()
      /** Where each row that is alive stands. */
      const rows = new Map<string, { key: string; row: number }>()
      let names = 0
      const kill = (ids: readonly string[]) => {
        const superseded = new Map<string, number[]>()
        for (const id of ids) {
          const { key, row } = rows.get(id)!
          rows.delete(id)
          superseded.set(
            key,
            [...(superseded.get(key) ?? []), row].toSorted((a, b) => a - b),
          )
        }
        return [...superseded].map(([key, list]) => ({ key, rows: Uint32Array.from(list) }))
      }
      const some = (picks: readonly number[]) => [
        ...new Set(picks.map((k) => [...rows.keys()][k % Math.max(1, rows.size)]!).filter((id) => id !== undefined)),
      ]
      for (const { rows: count, deaths, compacted } of steps) {
        const key = `f${names++}`
        const files = count === 0 ? [] : [file(key, count)]
        live.apply({ files, superseded: kill(some(deaths)) })
        for (let row = 0; row < count; row++) rows.set(`${key}#${row}`, { key, row })
        table.commit(live)
        if (compacted !== undefined) {
          const inputs = live.files
            .filter((_, k) => k % compacted.share === 0)
            .map(({ file, deleted }) => ({ file, deleted: deleted.clone(), firstRowId: 0n, sequenceNumber: 1n }))
          // Rows that die while the files are put together.
          live.apply({ files: [], superseded: kill(some(Array.from({ length: compacted.late }, (_, k) => k * 7))) })
          table.commit(live)
          const alive = inputs.flatMap(({ file, deleted }) =>
            Array.from({ length: file.recordCount }, (_, row) => ({ key: file.key, row })).filter(
              ({ row }) => !deleted.has(row),
            ),
          )
          if (live.holds(inputs)) {
            const output = alive.length === 0 ? undefined : file(`f${names++}`, alive.length)
            const dead = live.replace(inputs, output)
            const moved = new Map(alive.map(({ key, row }, at) => [`${key}:${row}`, at]))
            for (const at of rows.values()) {
              const to = moved.get(`${at.key}:${at.row}`)
              if (to !== undefined) Object.assign(at, { key: output!.key, row: to })
            }
            for (const { file } of inputs) table.files.delete(file.key)
            if (output !== undefined)
              table.files.set(output.key, { count: alive.length, dead: new Set(dead!.positions()) })
          }
        }
        expect(table.alive.toSorted()).toEqual([...rows.values()].map(({ key, row }) => `${key}:${row}`).toSorted())
        expect(live.rows - live.deadRows).toBe(rows.size)
      }
    }),
  )
})

test('a fold that has lost track of the table is stopped', () => {
  const stored = { file: file('f', 3), deleted: new DeletedRows(3) }
  const superseded = (key: string, rows: number[]) => ({
    files: [],
    superseded: [{ key, rows: Uint32Array.from(rows) }],
  })
  expect(() => new LiveRows('w', [stored]).apply(superseded('g', [0]))).toThrow('no file of it')
  expect(() => new LiveRows('w', [stored]).apply(superseded('f', [3]))).toThrow('row 3')
  expect(() => new LiveRows('w', [stored]).apply(superseded('f', [1, 1]))).toThrow('row 1')
})
