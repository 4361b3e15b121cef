import fc from 'fast-check'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import {
  changedFiles,
  changeTable,
  compareFiles,
  createTable,
  DeletedRows,
  openTable,
  storedFiles,
  type DataFile,
  type LakeTable,
} from '../../src/lake/table.ts'

// What two states of a table do not have in common, found by the manifests that not both have.

const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('append' as const), files: fc.integer({ min: 1, max: 3 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('compact' as const), files: fc.integer({ min: 1, max: 4 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('delete' as const), files: fc.integer({ min: 1, max: 2 }) }),
    },
  ),
  { minLength: 1, maxLength: 30 },
)

test('changed files are those that comparing all of them gives, of any two states', async () => {
  const property = fc.asyncProperty(steps, fc.boolean(), fc.nat(), fc.nat(), async (all, isKeyed, one, other) => {
    const storage = new MemoryStorage('changed-files')
    const columns = [{ name: 'v', type: { kind: 'long' } }] as const
    const spec = { name: 't', columns, partitionBy: [], formatVersion: isKeyed ? 3 : 2 } as const
    const states: LakeTable[] = [await createTable(storage, spec, systemClock)]
    const live = new Map<string, { file: DataFile; dead: DeletedRows }>()
    const newFile = (rows: number): DataFile => {
      const key = `tables/t/data/${systemClock.uuid()}.parquet`
      return { key, recordCount: rows, fileSizeBytes: 100, partition: [], metrics: new Map() }
    }
    for (const [k, { kind, files }] of all.entries()) {
      const stamp = { commitId: systemClock.uuid(), version: BigInt(k + 2), ranges: '' }
      const table = states.at(-1)!
      const some = [...live.values()].slice(0, files)
      const added: DataFile[] = []
      const removed: string[] = []
      if (kind === 'append') for (let i = 0; i < files; i++) added.push(newFile(5))
      else if (some.length === 0) continue
      else if (kind === 'compact') {
        added.push(newFile(5 * some.length))
        removed.push(...some.map(({ file }) => file.key))
      } else if (!isKeyed) continue
      else for (const { dead } of some) dead.add(Math.min(4, dead.count))
      const deletes = kind === 'delete' ? some.map(({ file, dead }) => ({ file, rows: dead.clone() })) : []
      const change = { kind: kind === 'compact' ? 'replace' : 'write', added, removed, deletes } as const
      states.push(await changeTable(storage, table, change, stamp, systemClock))
      for (const key of removed) live.delete(key)
      for (const file of added) live.set(file.key, { file, dead: new DeletedRows(file.recordCount) })
    }
    const filled = states.filter(({ snapshot }) => snapshot !== undefined)
    if (filled.length > 0) {
      // As another process opens them, and as the one that wrote them knows them.
      const from = await openTable(storage, filled[one % filled.length]!.metadata)
      const to = filled[other % filled.length]!
      const plain = ({ before, after }: ReturnType<typeof compareFiles>) =>
        [before, after].map(({ own, shared }) => [
          own.map(({ key }) => key).toSorted(),
          shared.map(({ file }) => file.key).toSorted(),
        ])
      const wanted = compareFiles(await storedFiles(storage, from), await storedFiles(storage, to))
      expect(plain(await changedFiles(storage, from, to))).toEqual(plain(wanted))
    }
    await storage.close()
  })
  await fc.assert(property, { numRuns: 40 })
})
