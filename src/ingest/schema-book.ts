import type { Clock } from '../clock.ts'
import { namesSchemas } from '../define-avro.ts'
import { keyNamesSchema } from '../define-record-key.ts'
import type { TableDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import type { RecordBatch } from '../log.ts'
import { schemaIdAt, type SchemaEntry, type Schemas } from './decode/avro-schemas.ts'
import type { SchemaRegistry } from './registry.ts'

/** A registry has copies that lag: an id is missing when it is missing so often, with pauses between. */
const ASKED_MAX = 3
const PAUSE_MS = 500
/** … where no more than so many are: a copy lags behind by few. */
const LAGGING_MAX = 32
/** An id that was missing is asked for again after so long. */
const MISSING_MS = 10_000
/** Requests at a time. */
const AT_ONCE = 8
/** Ids of one micro-batch that are asked for; a topic has few, and whatever writes more writes no ids. */
const NEW_IDS_MAX = 1_000
const IDS_MAX = 100_000
/** Of one micro-batch, in all: whoever touches records for too long is taken for stuck. */
const LEARN_MS_MAX = 60_000

/** What a lane knows of its registry's schemas: those of the records that it is about to decode. */
export class SchemaBook {
  readonly #registry: SchemaRegistry | undefined
  readonly #clock: Clock
  readonly #entries = new Map<number, SchemaEntry>()
  /** When ids were missing. */
  readonly #missingMs = new Map<number, number>()

  constructor(registry: SchemaRegistry | undefined, clock: Clock) {
    this.#registry = registry
    this.#clock = clock
  }

  get schemas(): Schemas {
    return this.#entries
  }

  /**
   * Learns the schemas of all records in the batches. Throws `registry.unavailable` and `registry.denied`: nothing is said
   * about a record then. Gives the ids of values, in the order in which they come.
   */
  async learn(table: TableDefinition, batches: readonly RecordBatch[]): Promise<readonly number[]> {
    const { name } = table
    const hasKeys = keyNamesSchema(table)
    if (this.#registry === undefined)
      throw new LakeError('config.invalid', `${name} is read with schemas of a registry, and none is set`, {
        fix: 'Set registry.url.',
      })
    const ids = new Set<number>()
    for (const batch of batches) {
      if (namesSchemas(table)) collect(batch, batch.valueRanges, ids)
    }
    const ofValues = [...ids]
    for (const batch of batches) if (hasKeys) collect(batch, batch.keyRanges, ids)
    if (this.#entries.size > IDS_MAX) this.#entries.clear()
    const due = [...ids].filter((id) => this.#isDue(id))
    for (const id of due.slice(NEW_IDS_MAX)) this.#entries.set(id, UNKNOWN)
    await this.#ask(due.slice(0, NEW_IDS_MAX))
    return ofValues
  }

  #isDue(id: number): boolean {
    const entry = this.#entries.get(id)
    if (entry === undefined) return true
    if (entry.kind !== 'unknown') return false
    const missingMs = this.#missingMs.get(id)
    return missingMs === undefined || this.#clock.monotonicMs() - missingMs > MISSING_MS
  }

  async #ask(ids: readonly number[]): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + LEARN_MS_MAX
    let missing = await this.#askOnce(ids, untilMs)
    for (let asked = 1; missing.length > 0 && missing.length <= LAGGING_MAX && asked < ASKED_MAX; asked++) {
      await this.#clock.sleep(PAUSE_MS)
      missing = await this.#askOnce(missing, untilMs)
    }
    for (const id of missing) {
      // The same entry as before: what was made of it stays.
      this.#entries.set(id, UNKNOWN)
      this.#missingMs.set(id, this.#clock.monotonicMs())
    }
  }

  /** Gives those that are missing. */
  async #askOnce(ids: readonly number[], untilMs: number): Promise<readonly number[]> {
    const missing: number[] = []
    const queue = ids.values()
    const work = async (): Promise<void> => {
      for (const id of queue) {
        if (this.#clock.monotonicMs() > untilMs) throw tooSlow()
        const entry = await this.#registry!.schema(id)
        if (entry.kind === 'unknown') missing.push(id)
        else this.#entries.set(id, entry)
      }
    }
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, ids.length) }, work))
    return missing
  }
}

const UNKNOWN: SchemaEntry = { kind: 'unknown' }

function tooSlow(): LakeError {
  return new LakeError(
    'registry.unavailable',
    `the schema registry did not answer all questions within ${LEARN_MS_MAX} ms`,
    {
      retryable: true,
      fix: 'See why the registry is slow: ingestion waits and goes on by itself.',
    },
  )
}

/** The ids of what begins with a frame; of what does not the decoder says so. */
function collect({ buffer, count }: RecordBatch, ranges: Int32Array, ids: Set<number>): void {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length)
  let last = -1
  for (let i = 0; i < count; i++) {
    const id = schemaIdAt(view, ranges[2 * i]!, ranges[2 * i + 1]!)
    if (id === undefined) continue
    if (id !== last) ids.add((last = id))
  }
}
