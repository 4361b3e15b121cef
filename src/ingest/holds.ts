import { LakeError, toErrorMessage, type ErrorMessage, type LakeErrorCode } from '../error.ts'
import type { Observer } from '../event.ts'
import type { Cursor, PartitionId, Positions } from '../log.ts'
import type { PipelineDefinition } from '../define.ts'
import type { LaneAnswer } from './lanes.ts'
import type { Subjects } from './first-columns.ts'

/** A record that its partition waits at. */
export interface Hold {
  readonly offset: bigint
  readonly reason: ErrorMessage
}

/**
 * Partitions that wait for a person at a record, while all others go on. Nothing of it is kept: whoever reads the
 * partition again comes to the same record.
 */
export class Holds {
  readonly #of = new Map<PartitionId, Hold>()
  /** Those that lanes may still have to read up to the record. */
  readonly #open = new Set<PartitionId>()
  #isReleased = false

  /** Where partitions wait and why, for people to look at. */
  get all(): ReadonlyMap<PartitionId, Hold> {
    return this.#of
  }

  /** A person wants it to be tried again: `areReleased` tells the run. */
  release(): void {
    this.#isReleased = this.#of.size > 0
  }

  /** Whether partitions may be read again just now: then none waits any more. */
  areReleased(): boolean {
    if (!this.#isReleased) return false
    this.clear()
    return true
  }

  add(partition: PartitionId, hold: Hold): void {
    // What is only told better now needs no reading again.
    if (this.#of.get(partition)?.offset !== hold.offset) this.#open.add(partition)
    this.#of.set(partition, hold)
  }

  clear(): void {
    this.#of.clear()
    this.#open.clear()
    this.#isReleased = false
  }

  /** Offsets that partitions must not be read beyond. */
  get until(): Positions {
    return new Map([...this.#of].map(([partition, { offset }]) => [partition, offset]))
  }

  /** What lanes have to read: nothing of partitions that have come to their record. */
  readable(cursors: ReadonlyMap<PartitionId, Cursor>): ReadonlyMap<PartitionId, Cursor> {
    return new Map([...cursors].filter(([id, { offset }]) => offset < (this.#of.get(id)?.offset ?? offset + 1n)))
  }

  /** Whether a partition has come to its record since it was asked last: nobody need read on there. */
  haveArrived(cursors: ReadonlyMap<PartitionId, Cursor>): boolean {
    const arrived = [...this.#open].filter((id) => cursors.get(id)?.offset === this.#of.get(id)!.offset)
    for (const id of arrived) this.#open.delete(id)
    return arrived.length > 0
  }

  /** Throws why a partition does not come beyond a position. */
  assertReachable(positions: Positions): void {
    for (const [id, offset] of positions) {
      const hold = this.#of.get(id)
      if (hold !== undefined && hold.offset < offset) throw toError('pipeline.stopped', id, hold)
    }
  }

  /** Why the first of those that wait does. */
  get reason(): LakeError | undefined {
    const [first] = this.#of
    return first && toError(first[1].reason.code, ...first)
  }
}

function toError(code: LakeErrorCode, partition: PartitionId, { offset, reason }: Hold): LakeError {
  return new LakeError(code, `${partition} waits at offset ${offset}: ${reason.message}`, {
    context: { partition, offset: String(offset), reason: reason.code },
    ...(reason.fix === undefined ? {} : { fix: reason.fix }),
  })
}

type Misfit = Pick<Extract<LaneAnswer, { readonly kind: 'incompatible' }>, 'partition' | 'offset' | 'error'>

export interface HoldParts {
  readonly definition: Pick<PipelineDefinition, 'name'>
  readonly observer: Observer
  readonly registry?: Subjects | undefined
}

/**
 * Has a partition wait at a record that nothing can be made of. Its reason names the subjects and versions of the schema
 * as soon as the registry says them.
 */
export async function hold(
  holds: Holds,
  { definition, observer, registry }: HoldParts,
  { partition, offset, error }: Misfit,
): Promise<void> {
  const reason = toErrorMessage(error)
  holds.add(partition, { offset, reason })
  const named = withUses(reason, await usesOf(error, registry))
  if (holds.all.get(partition)?.reason !== reason) return
  holds.add(partition, { offset, reason: named })
  observer({ kind: 'held', pipeline: definition.name, partition, offset, reason: named })
}

/** What ends a replay at such a record while it builds tables. */
export async function noReplay(
  { registry }: Pick<HoldParts, 'registry'>,
  { partition, offset, error }: Misfit,
): Promise<LakeError> {
  const { message, context = {} } = withUses(toErrorMessage(error), await usesOf(error, registry))
  return new LakeError(error.code, `${partition} at offset ${offset}: ${message}`, {
    context: { ...context, partition, offset: String(offset) },
    fix: 'Let such records be dead letters with onIncompatible: dead-letter, or declare columns that take what the schema has, and start a replay of that definition. The live tables are as they were.',
    cause: error,
  })
}

async function usesOf(error: LakeError, registry: Subjects | undefined): Promise<readonly SchemaUse[]> {
  const id = error.context['schemaId']
  const uses = typeof id === 'number' ? await registry?.usesOf(id).catch(() => []) : []
  return uses ?? []
}

function withUses(reason: ErrorMessage, uses: readonly SchemaUse[]): ErrorMessage {
  if (uses.length === 0) return reason
  const names = uses.map(({ subject, version }) => `${subject} version ${version}`).join(', ')
  return { ...reason, message: `${reason.message} (${names})`, context: { ...reason.context, subjects: uses } }
}

/** Where a registry has a schema. */
export interface SchemaUse {
  readonly subject: string
  readonly version: number
}
