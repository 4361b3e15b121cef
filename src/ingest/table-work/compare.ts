import path from 'node:path'
import { LakeError } from '../../error.ts'
import { typeName } from '../../lake/table.ts'
import type { CompareRequest, Comparison } from '../keys.ts'
import { firstGroups, firstSamples } from './compare-samples.ts'
import { ComparedSide, FIRST_COLUMN, RowHashes, scanSide, type CompareContext } from './compare-scan.ts'
import { addTo, ALL_GROUPS, GroupSums, hexOf, type GroupPart } from './group-sums.ts'
import { Marks, type MarkedRows } from './marked-rows.ts'
import { match, RowRecords, shardsOf } from './row-records.ts'

/** What may be in memory at once. */
export interface CompareLimits {
  /** Groups; 72 bytes each. When there are more, rows are summed in several turns. */
  readonly groupsMax: number
  /** Rows of both sides that are compared by key; 76 bytes each. When there are more, they go through files. */
  readonly rowsMax: number
}

export const COMPARE_LIMITS: CompareLimits = { groupsMax: 1 << 20, rowsMax: 1 << 21 }

/**
 * See `TableWork.compare`. Rows are read once and summed by group; rows of groups whose sums differ are read again, and
 * compared by key. Beside the limits a bit per row is kept.
 */
export async function compareRows(
  context: CompareContext,
  marked: MarkedRows,
  request: CompareRequest,
  limits: CompareLimits = COMPARE_LIMITS,
): Promise<Comparison> {
  const sides = [new ComparedSide(0, request.before, request), new ComparedSide(1, request.after, request)]
  check(request, sides)
  const sums = await sumUp(context, sides, request, limits)
  const { totals, groupsCompared, groupsDifferent } = sums
  const summed = {
    rowsBefore: BigInt(totals[0]!.rows),
    rowsAfter: BigInt(totals[1]!.rows),
    digestBefore: hexOf(totals[0]!.digest),
    digestAfter: hexOf(totals[1]!.digest),
    groupsCompared,
    groupsDifferent,
  }
  const nothing = { groups: [], added: 0n, removed: 0n, changed: 0n, samples: [] }
  if (groupsDifferent === 0 || request.key.length === 0) return { ...summed, ...nothing }
  const { group, key, groupsMax, samplesMax } = request
  const first =
    group.length === 0 || groupsMax === 0 ? [] : await firstGroups(context, marked, sides, sums.marks, group, groupsMax)
  const found = await compareByKey(
    context,
    sides,
    request,
    sums,
    first.map(({ hash }) => hash),
    limits,
  )
  const { counts, marks, ...numbers } = found
  return {
    ...summed,
    groups: first.map(({ values }, k) => ({ values, ...counts[k]! })),
    ...numbers,
    samples: samplesMax === 0 ? [] : await firstSamples(context, marked, sides, marks, key, samplesMax),
  }
}

interface Sums {
  readonly totals: readonly { rows: number; readonly digest: Uint32Array }[]
  readonly groupsCompared: number
  readonly groupsDifferent: number
  /** Rows of groups that differ, both sides together. */
  readonly rowsDifferent: number
  /** Undefined: there are too many of them, any row may be of one that differs. */
  readonly groups: GroupSums | undefined
  /** One row of each group that differs. */
  readonly marks: readonly Marks[]
}

/** What stands for the group of all rows, when they have no other. */
const ONE_GROUP = new Int32Array(4)

async function sumUp(
  context: CompareContext,
  sides: readonly ComparedSide[],
  { columns, group }: CompareRequest,
  limits: CompareLimits,
): Promise<Sums> {
  const totals = sides.map(() => ({ rows: 0, digest: new Uint32Array(4) }))
  const marks = marksOf(sides)
  let [groupsCompared, groupsDifferent, rowsDifferent] = [0, 0, 0]
  let groups: GroupSums | undefined
  const parts: GroupPart[] = [ALL_GROUPS]
  for (let turn = 0; parts.length > 0; turn++) {
    const sums = new GroupSums(parts.pop()!, limits.groupsMax, (rest) => parts.push(rest))
    for (const side of sides) {
      const hashes = new RowHashes((name) => side.field(name), [columns, group], FIRST_COLUMN)
      const total = totals[side.number]!
      await scanSide(context, side, hashes.fields, ({ chunk, rows, isLive, file, place }) => {
        const [row, grouped] = hashes.of(chunk, rows)
        for (let k = 0; k < rows; k++) {
          if (isLive[k] === 0) continue
          if (turn === 0) {
            total.rows++
            addTo(total.digest, 0, row!, 4 * k)
          }
          const at = placeOf(side, file(k), place(k))
          if (group.length === 0) sums.add(side.number, ONE_GROUP, 0, row!, 4 * k, at)
          else sums.add(side.number, grouped!, 4 * k, row!, 4 * k, at)
        }
      })
    }
    groupsCompared += sums.size
    for (let number = 0; number < sums.size; number++) {
      if (!sums.isDifferent(number)) continue
      groupsDifferent++
      rowsDifferent += sums.rows(number, 0) + sums.rows(number, 1)
      mark(marks, sums.place(number))
    }
    groups = turn === 0 && parts.length === 0 ? sums : undefined
  }
  return { totals, groupsCompared, groupsDifferent, rowsDifferent, groups, marks }
}

interface ByKey {
  readonly added: bigint
  readonly removed: bigint
  readonly changed: bigint
  /** Rows of the groups that were asked for. */
  readonly counts: readonly { readonly rowsBefore: bigint; readonly rowsAfter: bigint }[]
  /** Rows that the other side does not have. */
  readonly marks: readonly Marks[]
}

async function compareByKey(
  context: CompareContext,
  sides: readonly ComparedSide[],
  { columns, group, key }: CompareRequest,
  { groups, rowsDifferent, totals }: Sums,
  first: readonly Int32Array[],
  limits: CompareLimits,
): Promise<ByKey> {
  const { storage, clock } = context
  const rowsMany = groups === undefined ? totals[0]!.rows + totals[1]!.rows : rowsDifferent
  const shards = shardsOf(rowsMany, limits.rowsMax)
  const records = sides.map(() => new RowRecords(shards, path.join(storage.scratch, `compare-${clock.uuid()}`)))
  const shown = new GroupSums(ALL_GROUPS, Infinity, () => undefined)
  for (const hash of first) shown.add(0, hash, 0, ONE_GROUP, 0, 0)
  try {
    for (const side of sides) {
      const hashes = new RowHashes((name) => side.field(name), [columns, group, key], FIRST_COLUMN)
      const to = records[side.number]!
      await scanSide(context, side, hashes.fields, async ({ chunk, rows, isLive, file, place }) => {
        const [row, grouped, keys] = hashes.of(chunk, rows)
        for (let k = 0; k < rows; k++) {
          if (isLive[k] === 0) continue
          if (group.length > 0) {
            const number = groups?.find(grouped!, 4 * k)
            if (number !== undefined && !groups!.isDifferent(number)) continue
            if (first.length > 0 && shown.find(grouped!, 4 * k) >= 0)
              shown.add(side.number, grouped!, 4 * k, row!, 4 * k, 0)
          }
          to.add(keys!, 4 * k, row!, 4 * k, file(k), place(k))
        }
        await to.flush()
      })
    }
    const marks = marksOf(sides)
    let [added, removed, changed] = [0, 0, 0]
    for (let shard = 0; shard < shards; shard++) {
      const [before, after] = [await records[0]!.take(shard), await records[1]!.take(shard)]
      const found = match(
        before,
        after,
        (file, row) => marks[0]!.add(file, row),
        (file, row) => marks[1]!.add(file, row),
      )
      added += found.added
      removed += found.removed
      changed += found.changed
      context.onStep()
    }
    const counts = first.map((hash) => {
      const number = shown.find(hash, 0)
      // One row was there to begin with.
      return { rowsBefore: BigInt(shown.rows(number, 0) - 1), rowsAfter: BigInt(shown.rows(number, 1)) }
    })
    return { added: BigInt(added), removed: BigInt(removed), changed: BigInt(changed), counts, marks }
  } finally {
    for (const each of records) await each.discard()
  }
}

function marksOf(sides: readonly ComparedSide[]): readonly Marks[] {
  return sides.map(({ rows }) => new Marks(rows.map(({ file }) => file.recordCount)))
}

const ROW_RANGE = 2 ** 32

/** Side, file and row as one number. */
function placeOf({ number }: ComparedSide, file: number, row: number): number {
  return (2 * file + number) * ROW_RANGE + row
}

function mark(marks: readonly Marks[], place: number): void {
  const file = Math.floor(place / ROW_RANGE)
  marks[file % 2]!.add(Math.floor(file / 2), place % ROW_RANGE)
}

/** What has one name has one type on both sides, or hashes would say that all is other. */
function check({ columns, key, group }: CompareRequest, sides: readonly ComparedSide[]): void {
  for (const name of [...columns, ...key, ...group]) {
    const [before, after] = sides.map((side) => typeName(side.field(name).type))
    if (before !== after)
      throw new LakeError('internal', `${sides[0]!.table}: ${name} is ${before} and ${after}`, { context: { name } })
  }
}
