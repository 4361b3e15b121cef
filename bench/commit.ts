import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { systemClock } from '../src/clock.ts'
import { openChain, type Chain, type VersionContent } from '../src/lake/chain.ts'
import { openStorage } from '../src/lake/storage/open.ts'
import {
  appendFiles,
  createTable,
  lowerBound,
  singleValue,
  upperBound,
  writePlan,
  type DataFile,
  type LakeTable,
  type Storage,
} from '../src/lake/table.ts'
import type { Version } from '../src/version.ts'
import { rounded } from './support/figures.mjs'
import { NOTHING_ELSE } from '../test/support/version-content.ts'

/**
 * How long one commit takes: a manifest, a manifest list, table metadata, then the version that names them, each durable
 * on a local disk. It must not grow with the number of files in a table, or with the commits that it has seen.
 */
interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: 'ms'
  readonly target: string
  readonly ratio: number
  readonly peer: { readonly name: string; readonly value: number }
  readonly pass: boolean
}

const FILES = [1, 100, 1_000, 5_000]
const COMMITS_BEFORE = 1_000
const ROUNDS = 300
const COLUMNS = 20
const MEDIAN_RATIO_MAX = 1.5

interface Subject {
  readonly name: string
  readonly chain: Chain
  table: LakeTable
  version: Version | undefined
  files: number
  readonly timesMs: number[]
}

export async function measure(): Promise<readonly Figure[]> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-bench-'))
  const storage = await openStorage({ url: `file://${folder}` }, systemClock)
  try {
    const subjects: Subject[] = []
    for (const files of FILES) subjects.push(await open(storage, `files-${files}`, files))
    const old = await open(storage, `commits-${COMMITS_BEFORE}`, 1)
    for (let commit = 1; commit < COMMITS_BEFORE; commit++) await commitOne(storage, old)
    subjects.push(old)
    for (const subject of subjects) subject.timesMs.length = 0
    // In turns, so that all see the same machine.
    for (let round = 0; round < ROUNDS; round++) for (const subject of subjects) await commitOne(storage, subject)
    return subjects.flatMap((subject) => figuresOf(subject, subjects[0]!))
  } finally {
    await storage.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function open(storage: Storage, name: string, files: number): Promise<Subject> {
  const columns = Array.from({ length: COLUMNS }, (_, index) => ({
    name: `c${index}`,
    type: { kind: 'string' } as const,
  }))
  const table = await createTable(storage, { name, columns, partitionBy: [], formatVersion: 2 }, systemClock)
  const subject: Subject = {
    name,
    chain: openChain(storage, name, systemClock),
    table,
    version: undefined,
    files: 0,
    timesMs: [],
  }
  await commitOne(storage, subject, files)
  return subject
}

async function commitOne(storage: Storage, subject: Subject, count = 1): Promise<void> {
  const files = Array.from({ length: count }, () => dataFile(subject))
  const commitId = systemClock.uuid()
  const startMs = systemClock.monotonicMs()
  const result = await subject.chain.append(subject.version, {
    commitId,
    build: async (_head, number) => {
      const ranges = `shop.orders:0=${number}-${number + 1n}`
      subject.table = await appendFiles(
        storage,
        subject.table,
        files,
        { commitId, version: number, ranges },
        systemClock,
      )
      return contentOf(subject.name, subject.table, number)
    },
  })
  subject.timesMs.push(systemClock.monotonicMs() - startMs)
  if (result.kind !== 'committed') throw new Error(`${subject.name}: ${result.kind}`)
  subject.version = result.version
}

/** Only described: a commit never opens a data file. */
function dataFile(subject: Subject): DataFile {
  const text = `${String(subject.files++).padStart(8, '0')} a value longer than its bounds`
  const bytes = singleValue('string', text)
  const metrics = {
    sizeBytes: 10_000,
    valueCount: 1_000,
    nullCount: 3,
    lower: lowerBound('string', bytes),
    upper: upperBound('string', bytes)!,
  }
  return {
    key: `${writePlan(subject.table).dataPrefix}${systemClock.uuid()}.parquet`,
    recordCount: 1_000,
    fileSizeBytes: 200_000,
    partition: [],
    metrics: new Map(Array.from({ length: COLUMNS }, (_, index) => [index + 1, metrics])),
  }
}

function contentOf(name: string, table: LakeTable, number: bigint): VersionContent {
  return {
    kind: 'ingest',
    writer: 'bench',
    tables: { [name]: { metadata: table.metadata, snapshot: table.snapshot, code: 'code' } },
    positions: new Map([['shop.orders/0', number]]),
    ...NOTHING_ELSE,
  }
}

/** The median has to stay flat; the 99th percentile, where manifests are merged, is told beside it. */
function figuresOf(subject: Subject, first: Subject): Figure[] {
  return [0.5, 0.99].map((share) => {
    const [value, peer] = [quantile(subject.timesMs, share), quantile(first.timesMs, share)]
    const isMedian = share === 0.5
    return {
      name: `commit.${subject.name}.${isMedian ? 'median' : 'p99'}`,
      value: rounded(value),
      unit: 'ms',
      target: isMedian ? `at most ${MEDIAN_RATIO_MAX} times ${first.name}` : 'none',
      ratio: rounded(value / peer),
      peer: { name: first.name, value: rounded(peer) },
      pass: !isMedian || value / peer <= MEDIAN_RATIO_MAX,
    }
  })
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)]!
}
