import { LakeError } from './error.ts'
import { parsePartitionId, type PartitionId, type Positions } from './log.ts'

/**
 * Table property of an archive: the topic that it keeps, and the position of each partition at which it began. Without
 * it nobody knows whether what is missing at its beginning was never there, and it is not read.
 */
export const ARCHIVE_PROPERTY = 'kappalake.archive'

export interface StoredArchive {
  readonly topic: string
  /** A partition that is not named came later: it is kept from its own first position on. */
  readonly from: Positions
}

/** What an archive's table is created with. `begins`: where the tables of its pipeline begin that are made with it. */
export function archiveProperties(topic: string, begins: Positions): Readonly<Record<string, string>> {
  const own = [...begins].filter(([id]) => parsePartitionId(id).topic === topic)
  const from = Object.fromEntries(own.map(([id, offset]) => [id, String(offset)]))
  return { [ARCHIVE_PROPERTY]: JSON.stringify({ topic, from }) }
}

/** The archive that a table is; undefined for one of another kind, or whose beginning is not known. Throws `store.corrupt`. */
export function storedArchive(properties: Readonly<Record<string, string>>): StoredArchive | undefined {
  const text = properties[ARCHIVE_PROPERTY]
  if (text === undefined) return undefined
  try {
    const { topic, from } = JSON.parse(text) as { readonly topic: string; readonly from: Record<PartitionId, string> }
    const positions = Object.entries(from).map(([id, offset]) => [id as PartitionId, BigInt(offset)] as const)
    return { topic, from: new Map(positions) }
  } catch (cause) {
    throw new LakeError('store.corrupt', `the table property ${ARCHIVE_PROPERTY} is not an archive`, { cause })
  }
}
