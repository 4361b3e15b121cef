import { LakeError } from './error.ts'
import type { PartitionId } from './log.ts'
import { FORMAT_VERSION, type Fork, type Version } from './version.ts'

const pairs = <V, W>(map: ReadonlyMap<PartitionId, V>, to: (value: V) => W): Record<string, W> =>
  Object.fromEntries([...map].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([id, value]) => [id, to(value)]))

const unpairs = <V, W>(object: Record<string, W> | undefined, to: (value: W) => V): Map<PartitionId, V> =>
  new Map(Object.entries(object ?? {}).map(([id, value]) => [id as PartitionId, to(value)]))

/** UTF-8 JSON; 64-bit integers are strings. The bytes are a pure function of the version. */
export function encodeVersion(version: Version): Uint8Array {
  const { number, tables, positions, origins, tails, holes, published, jump, fork, ...rest } = version
  const text = JSON.stringify(
    {
      ...rest,
      number: String(number),
      tables: Object.fromEntries(
        Object.entries(tables).map(([name, t]) => [
          name,
          { ...t, snapshot: t.snapshot === undefined ? undefined : String(t.snapshot) },
        ]),
      ),
      positions: pairs(positions, String),
      origins: pairs(origins, String),
      tails: pairs(tails, (tail) => ({ ...tail, offset: String(tail.offset) })),
      holes: pairs(holes, (list) => list.map((hole) => ({ from: String(hole.from), until: String(hole.until) }))),
      published: Object.fromEntries(Object.entries(published).map(([table, version]) => [table, String(version)])),
      jump: jump === undefined ? undefined : String(jump),
      fork: fork && {
        ...fork,
        base: { ...fork.base, number: String(fork.base.number) },
        building: fork.building && {
          ...fork.building,
          from: pairs(fork.building.from, String),
          until: pairs(fork.building.until, String),
        },
      },
    },
    undefined,
    1,
  )
  return Buffer.from(text, 'utf8')
}

/** Throws `store.corrupt` when the bytes are not a version, or are one of a newer format. */
export function decodeVersion(bytes: Uint8Array): Version {
  let raw: any
  try {
    raw = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (cause) {
    throw new LakeError('store.corrupt', 'a version file is not JSON', { cause })
  }
  if (typeof raw?.formatVersion !== 'number' || typeof raw.number !== 'string' || typeof raw.commitId !== 'string')
    throw new LakeError('store.corrupt', 'a version file lacks formatVersion, number or commitId')
  if (raw.formatVersion > FORMAT_VERSION)
    throw new LakeError('store.corrupt', `version file format ${raw.formatVersion} is newer than ${FORMAT_VERSION}`, {
      fix: 'Upgrade this process to the release that wrote the store.',
    })
  return {
    formatVersion: raw.formatVersion,
    number: BigInt(raw.number),
    kind: raw.kind,
    commitId: raw.commitId,
    parent: raw.parent,
    writer: raw.writer,
    time: raw.time,
    tables: Object.fromEntries(
      Object.entries<any>(raw.tables).map(([name, t]) => [
        name,
        { metadata: t.metadata, snapshot: t.snapshot === undefined ? undefined : BigInt(t.snapshot), code: t.code },
      ]),
    ),
    positions: unpairs(raw.positions, (offset: string) => BigInt(offset)),
    origins: unpairs(raw.origins, (offset: string) => BigInt(offset)),
    clocksMs: raw.clocksMs ?? {},
    watermarksMs: raw.watermarksMs ?? {},
    watermarkMs: raw.watermarkMs,
    topicIds: raw.topicIds ?? {},
    tails: unpairs(raw.tails, (tail: any) => ({
      offset: BigInt(tail.offset),
      leaderEpoch: tail.leaderEpoch,
      hash: tail.hash,
    })),
    holes: unpairs(raw.holes, (list: any[]) =>
      list.map((hole) => ({ from: BigInt(hole.from), until: BigInt(hole.until) })),
    ),
    published: Object.fromEntries(
      Object.entries<string>(raw.published ?? {}).map(([table, version]) => [table, BigInt(version)]),
    ),
    recentCommits: raw.recentCommits ?? [],
    jump: raw.jump === undefined ? undefined : BigInt(raw.jump),
    paused: raw.paused,
    released: raw.released ?? false,
    fork: raw.fork === undefined ? undefined : decodeFork(raw.fork),
    ...(raw.retried === undefined ? {} : { retried: raw.retried }),
  }
}

function decodeFork({ id, base, rebuilt, building }: any): Fork {
  return {
    id,
    base: { number: BigInt(base.number), commitId: base.commitId },
    rebuilt,
    building: building && {
      stage: building.stage,
      from: unpairs(building.from, (offset: string) => BigInt(offset)),
      until: unpairs(building.until, (offset: string) => BigInt(offset)),
    },
  }
}
