export interface TopicRecord {
  readonly partition: number
  /** Null: it has none. */
  readonly key: string | null
  readonly value: string | null
  readonly headers: Readonly<Record<string, string>>
}

/** All records that topics have now, by topic, those of a partition in their order. */
export function readTopics(
  world: { readonly broker: { readonly address: string } },
  topics: readonly string[],
): Promise<ReadonlyMap<string, readonly TopicRecord[]>>

/** How often records break what is promised of them. */
export function inspect(
  records: readonly TopicRecord[],
  table: string,
): {
  readonly changes: number
  readonly repeats: number
  readonly versions: number
  readonly wrong: Readonly<Record<'foreign' | 'keys' | 'skipped' | 'unlike' | 'disordered' | 'holes', number>>
}

/** The last value of each key, of changes up to a version. */
export function rowsAt(records: readonly TopicRecord[], version: number): readonly string[]
