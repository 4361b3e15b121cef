import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { collectOrphans } from '../../src/lake/collect.ts'
import { expireVersions, readableVersions, versionFiles } from '../../src/lake/expire-versions.ts'
import { expireSnapshots } from '../../src/lake/expire.ts'
import { encodeManifestList } from '../../src/lake/manifest-list.ts'
import { encodeManifest, type ManifestEntry } from '../../src/lake/manifest.ts'
import { encodeMetadata, withSnapshot } from '../../src/lake/metadata.ts'
import { isWhole } from '../../src/lake/reachable.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { uriOf } from '../../src/lake/storage/storage.ts'
import { createTable, openTable, writeVersionHints, type LakeTable } from '../../src/lake/table.ts'
import { decodeVersion } from '../../src/version-json.ts'
import type { Version } from '../../src/version.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { content } from '../support/scripted-chain.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const GRACE_MS = 2 * HOUR_MS
const OPTIONS = { graceMs: GRACE_MS, deletesMax: 1_000_000 }

/**
 * A pipeline of two tables, written by hand: what each snapshot needs is on record here, and nothing of it is read
 * back from the store. A snapshot has one manifest of its own (data files that came with it) and those of before.
 */
class Bench {
  readonly clock = new InstantClock()
  readonly storage = new MemoryStorage('collect', this.clock)
  readonly chain: Chain = openChain(this.storage, 'shop', this.clock)
  /** All keys that a snapshot of a table needs, its metadata file apart. */
  readonly needs = new Map<bigint, ReadonlySet<string>>()
  /** By manifest: what it lists. */
  readonly #manifests = new Map<string, readonly string[]>()
  /** Manifests of a snapshot. */
  readonly #lists = new Map<bigint, readonly string[]>()
  #ids = 1n

  /** Writes what a commit of a table would; nobody refers to it until a version does. */
  async change(table: LakeTable, kind: 'append' | 'compact'): Promise<LakeTable> {
    const { storage, clock } = this
    const before = table.snapshot === undefined ? [] : this.#lists.get(table.snapshot)!
    const data = await this.file(`tables/${table.name}/data/${clock.uuid()}.parquet`)
    // All vectors of a commit are in one Puffin file; an older one stays needed while one of its vectors is.
    const vectors = before
      .flatMap((manifest) => this.#manifests.get(manifest)!)
      .filter((key) => key.endsWith('.puffin'))
    const puffin = await this.file(`tables/${table.name}/data/${clock.uuid()}.puffin`)
    const files = kind === 'append' ? [data, puffin] : [data, ...vectors.slice(-1)]
    const manifest = await this.manifest(table, files)
    const manifests = kind === 'append' ? [manifest, ...before].slice(0, 4) : [manifest]
    const id = this.#ids++
    const list = `tables/${table.name}/metadata/snap-${id}-1-${clock.uuid()}.avro`
    const sequenceNumber = table.raw['last-sequence-number'] + 1n
    const head = {
      formatVersion: 2,
      snapshotId: id,
      parentSnapshotId: undefined,
      sequenceNumber,
      firstRowId: undefined,
    }
    await storage.put(
      list,
      encodeManifestList(
        { ...head, formatVersion: 2 },
        manifests.map((key) => ({
          path: uriOf(storage, key),
          length: 1,
          specId: 0,
          sequenceNumber,
          minSequenceNumber: sequenceNumber,
          addedSnapshotId: id,
          addedFiles: 1,
          existingFiles: 0,
          addedRows: 1n,
          existingRows: 0n,
          deletedFiles: 0,
          deletedRows: 0n,
          content: 'data' as const,
          partitions: [],
          firstRowId: undefined,
        })),
      ),
    )
    this.#lists.set(id, manifests)
    this.needs.set(id, new Set([list, ...manifests, ...manifests.flatMap((key) => this.#manifests.get(key)!)]))
    const snapshot = {
      'snapshot-id': id,
      'sequence-number': sequenceNumber,
      'timestamp-ms': clock.nowMs(),
      'manifest-list': uriOf(storage, list),
      summary: { operation: 'append' },
      'schema-id': 0,
    }
    const raw = expireSnapshots(withSnapshot(table.raw, snapshot, uriOf(storage, table.metadata)))
    const key = `tables/${table.name}/metadata/v${id}-${clock.uuid()}.metadata.json`
    await storage.put(key, encodeMetadata(raw))
    return openTable(storage, key)
  }

  async commit(kind: 'append' | 'compact' = 'append', version: Partial<Version> = {}): Promise<Version> {
    const head = await this.chain.head()
    const tables: Record<string, LakeTable> = {}
    for (const name of ['orders', 'items']) {
      const before = head?.tables[name]
      const spec = { name, columns: [], partitionBy: [], formatVersion: 2 } as const
      const table =
        before === undefined
          ? await createTable(this.storage, spec, this.clock)
          : await openTable(this.storage, before.metadata)
      tables[name] = name === 'items' && kind === 'compact' ? table : await this.change(table, kind)
    }
    const made = Object.entries(tables).map(([name, { metadata, snapshot }]) => [
      name,
      { metadata, snapshot, code: 'a' },
    ])
    const build = () => Promise.resolve({ ...content(1n), tables: Object.fromEntries(made), ...version })
    const result = await this.chain.append(head, { commitId: this.clock.uuid(), build })
    if (result.kind !== 'committed') throw new Error(result.kind)
    return result.version
  }

  async manifest(table: LakeTable, files: readonly string[]): Promise<string> {
    const key = `tables/${table.name}/metadata/${this.clock.uuid()}-m0.avro`
    const entries = files.map((file): ManifestEntry => ({
      status: 'added',
      snapshotId: 1n,
      sequenceNumber: undefined,
      fileSequenceNumber: undefined,
      firstRowId: undefined,
      path: uriOf(this.storage, file),
      file: { key: file, recordCount: 1, fileSizeBytes: 1, partition: [], metrics: new Map() },
    }))
    await this.storage.put(key, encodeManifest(table, entries))
    this.#manifests.set(key, files)
    return key
  }

  async file(key: string): Promise<string> {
    await this.storage.put(key, Buffer.from('x'))
    return key
  }

  async keys(prefix = 'tables/'): Promise<Set<string>> {
    const keys = new Set<string>()
    for await (const { key } of this.storage.list(prefix)) keys.add(key)
    return keys
  }

  collect(given: Partial<Parameters<typeof collectOrphans>[3]> = {}) {
    return collectOrphans(this.storage, 'shop', this.clock, { ...OPTIONS, ...given })
  }

  /** What the readable versions need, by our own record: as they stand, and what the newest two keep beside that. */
  async needed(): Promise<{ readonly now: Set<string>; readonly kept: Set<string> }> {
    const files = await versionFiles(this.storage, 'shop')
    const [now, kept] = [new Set<string>(), new Set<string>()]
    for (const { key, number } of readableVersions(files, this.clock.nowMs())) {
      const version = decodeVersion((await this.storage.get(key))!)
      for (const { metadata, snapshot } of Object.values(version.tables)) {
        now.add(metadata)
        for (const need of this.needs.get(snapshot ?? 0n) ?? []) now.add(need)
        if (number < files.at(-2)!.number) continue
        const { raw } = await openTable(this.storage, metadata)
        for (const each of raw.snapshots) for (const need of this.needs.get(each['snapshot-id'])!) kept.add(need)
      }
    }
    return { now, kept }
  }
}

const missing = (needed: ReadonlySet<string>, there: ReadonlySet<string>) =>
  [...needed].filter((key) => !there.has(key))

describe('collectOrphans', () => {
  test('deletes what failed commits left, after the grace, and nothing else', async () => {
    const bench = new Bench()
    await bench.commit()
    const head = await bench.commit()
    const there = await bench.keys()
    await bench.change(await openTable(bench.storage, head.tables['orders']!.metadata), 'append')
    await bench.file('tables/orders/data/staged.parquet')
    await bench.file('tables/orders/notes.txt')
    await bench.file('tables/strange/data/of-another-pipeline.parquet')
    expect(await bench.collect()).toEqual({ deleted: 0, bytes: 0, next: undefined })
    bench.clock.advance(GRACE_MS + 1)
    expect(await bench.collect()).toMatchObject({ deleted: 6, next: undefined })
    expect(await bench.keys()).toEqual(
      new Set([...there, 'tables/orders/notes.txt', 'tables/strange/data/of-another-pipeline.parquet']),
    )
  })

  test('grace is never below one hour', async () => {
    const bench = new Bench()
    await bench.commit()
    await bench.file('tables/orders/data/staged.parquet')
    bench.clock.advance(HOUR_MS)
    expect((await bench.collect({ graceMs: 0 })).deleted).toBe(0)
    bench.clock.advance(1)
    expect((await bench.collect({ graceMs: 0 })).deleted).toBe(1)
  })

  test('goes on where it ended', async () => {
    const bench = new Bench()
    await bench.commit()
    for (const table of ['orders', 'items'])
      for (let i = 0; i < 20; i++) await bench.file(`tables/${table}/data/${i}.parquet`)
    bench.clock.advance(GRACE_MS + 1)
    let [runs, deleted, from] = [0, 0, undefined as string | undefined]
    do {
      const run = await bench.collect({ deletesMax: 7, from })
      expect(run.deleted).toBeLessThanOrEqual(7)
      runs++
      deleted += run.deleted
      from = run.next
    } while (from !== undefined)
    expect([runs, deleted]).toEqual([6, 40])
  })

  test('deletes nothing when something is missing that must be there', async () => {
    const bench = new Bench()
    const head = await bench.commit()
    const [list] = [...bench.needs.get(head.tables['orders']!.snapshot!)!].filter((key) => key.includes('/snap-'))
    await bench.file('tables/orders/data/staged.parquet')
    bench.clock.advance(GRACE_MS + 1)
    const bytes = (await bench.storage.get(list!))!
    await bench.storage.delete(list!)
    await expect(bench.collect()).rejects.toMatchObject({ code: 'store.corrupt' })
    await bench.storage.put(list!, bytes.subarray(0, bytes.length - 9))
    await expect(bench.collect()).rejects.toMatchObject({ code: 'store.corrupt' })
    expect(await bench.keys()).toContain('tables/orders/data/staged.parquet')
  })

  test('ends when the chain goes back to an older version meanwhile', async () => {
    const bench = new Bench()
    const first = await bench.commit()
    for (let i = 0; i < 3; i++) await bench.commit('compact')
    await bench.file('tables/orders/data/staged.parquet')
    bench.clock.advance(3 * GRACE_MS)
    const list = bench.storage.list.bind(bench.storage)
    let isBack = false
    bench.storage.list = async function* (prefix, options) {
      if (prefix === 'tables/orders/' && !isBack) {
        isBack = true
        await bench.chain.append(await bench.chain.head(), {
          commitId: 'back',
          build: () => Promise.resolve({ ...content(1n), kind: 'rollback', tables: first.tables }),
        })
      }
      yield* list(prefix, options)
    }
    await expect(bench.collect()).rejects.toMatchObject({ code: 'commit.stale', retryable: true })
    expect(await bench.keys()).toContain('tables/orders/data/staged.parquet')
  })

  test('keeps what readers by path are pointed to', async () => {
    const bench = new Bench()
    const first = await bench.commit()
    await writeVersionHints(bench.storage, [first.tables['orders']!])
    const second = await bench.commit()
    for (let i = 0; i < 200; i++) {
      await bench.commit('compact')
      bench.clock.advance(MINUTE_MS / 2)
    }
    bench.clock.advance(26 * HOUR_MS)
    expect((await bench.collect()).deleted).toBeGreaterThan(100)
    const there = await bench.keys()
    const { metadata, snapshot } = first.tables['orders']!
    expect(missing(new Set([metadata, ...bench.needs.get(snapshot!)!]), there)).toEqual([])
    expect(await isWhole(bench.storage, first)).toBe(true)
    expect(await isWhole(bench.storage, second)).toBe(false)
    expect(await isWhole(bench.storage, (await bench.chain.head())!)).toBe(true)
  })

  test('nothing reachable is ever deleted, and after the grace no orphan stays, whatever comes in between', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant('append' as const) },
      { weight: 2, arbitrary: fc.constant('compact' as const) },
      { weight: 2, arbitrary: fc.constant('orphan' as const) },
      { weight: 1, arbitrary: fc.constant('expire' as const) },
      { weight: 2, arbitrary: fc.constant('collect' as const) },
      { weight: 1, arbitrary: fc.constant('rollback' as const) },
      { weight: 4, arbitrary: fc.integer({ min: 1, max: 5 }).map((power) => 10 ** power * 900) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80 }), async (steps) => {
        const bench = new Bench()
        await bench.commit()
        await bench.commit()
        const gone = new Set<string>()
        for (const each of steps) {
          const [before, wanted] = [await bench.keys(), await bench.needed()]
          if (typeof each === 'number') bench.clock.advance(each)
          else if (each === 'append' || each === 'compact') await bench.commit(each)
          else if (each === 'expire') await expireVersions(bench.storage, 'shop', bench.clock, 1_000)
          else if (each === 'collect') await bench.collect({ deletesMax: 25 })
          else if (each === 'orphan') {
            const head = (await bench.chain.head())!
            await bench.change(await openTable(bench.storage, head.tables['items']!.metadata), 'append')
          } else {
            const [file] = readableVersions(await versionFiles(bench.storage, 'shop'), bench.clock.nowMs())
            const { tables } = decodeVersion((await bench.storage.get(file!.key))!)
            await bench.commit('append', { kind: 'rollback', tables })
          }
          const there = await bench.keys()
          for (const key of missing(before, there)) if (!wanted.now.has(key) && !wanted.kept.has(key)) gone.add(key)
          const { now, kept } = await bench.needed()
          expect(missing(now, there)).toEqual([])
          // Whoever goes back to an older version does not get back its older snapshots.
          expect(missing(kept, there).filter((key) => !gone.has(key))).toEqual([])
        }
        bench.clock.advance(26 * HOUR_MS)
        while ((await bench.collect({ deletesMax: 25 })).next !== undefined);
        await bench.collect()
        const { now, kept } = await bench.needed()
        const rest = [...(await bench.keys())].filter((key) => !now.has(key) && !kept.has(key))
        // What the metadata was before stays listed in it.
        const logged = (key: string) => key.endsWith('.metadata.json')
        expect(rest.filter((key) => !logged(key))).toEqual([])
        expect(rest.filter(logged).length).toBeLessThanOrEqual(2 * 101)
      }),
      { numRuns: 40 },
    )
  })
})
