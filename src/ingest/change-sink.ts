/** A change of a table on its way to a topic. */
export interface ChangeRecord {
  /** Null: it has none. */
  readonly key: string | null
  /** Of a record without a key: it goes to this partition, modulo the number of those of the topic. */
  readonly partition?: number
  /** Null: the key is gone. */
  readonly value: string | null
  readonly headers: Readonly<Record<string, string>>
}

/** Where changes are published. */
export interface ChangeSink {
  /**
   * Resolves when all are safe. Records of one key, or without one of one partition, stay in order, within a call and from call to call. When it throws,
   * any of them may have been written, and be written later. Throws `kafka.*`.
   */
  send(topic: string, records: readonly ChangeRecord[]): Promise<void>
  close(): Promise<void>
}

/** What readers of a topic know a change by. */
export const HEADERS = {
  table: 'kappalake.table',
  version: 'kappalake.version',
  /** Index of the change among those of its table and version. */
  position: 'kappalake.position',
  /** Where not all versions could be told apart: the change is one since this version; 0: from nothing. */
  since: 'kappalake.since',
  /** Of the first change after a rollback: the version that rolled back. */
  discontinuity: 'kappalake.discontinuity',
} as const
