import { isUtf8 } from 'node:buffer'
import type { TableDefinition } from '../../define.ts'
import { retriedAt, type RetriedRecords } from '../letters/letters.ts'
import { LakeError } from '../../error.ts'
import { partitionId, type PartitionId, type RecordBatch } from '../../log.ts'
import { RECORD_BYTES_MAX, type Reason } from '../decode/codes.ts'
import { OWN_SEGMENT, OwnText } from '../decode/column-builder.ts'
import { DeadLetters } from '../decode/dead-letters.ts'
import { JsonText, MISFIT } from '../decode/json-text.ts'
import { stopped } from '../decode/stopped.ts'
import type { NativeText } from '../decode/native-text.ts'
import type { Slab, SlabPool } from '../decode/slab.ts'
import type { Decoded, MutableCounts } from '../decode/table-decoder.ts'
import { MapRunner } from './map-function.ts'

/** Records with the values that a function gives for theirs. */
export interface MappedBatch extends RecordBatch {
  /** As `valueRanges`: where the values of the records themselves lie. Dead letters keep these. */
  readonly recordRanges: Int32Array
}

export interface MappedRecords {
  /** One for each that was given, without the records that have no row. */
  readonly batches: readonly MappedBatch[]
  readonly deadLetters: readonly Slab[]
  readonly counts: ReadonlyMap<PartitionId, MapCounts>
}

interface MapCounts {
  filtered: number
  deadLetters: number
  skipped: number
}

/**
 * The function of a table, over the values of a micro-batch, before they are decoded: what it gives is read as if the
 * record said so, as strictly. What is no value for it (null, no JSON object) is left to the decoder as it is.
 */
export class MapRecords {
  readonly #definition: TableDefinition
  readonly #native: NativeText
  readonly #runner: MapRunner
  readonly #deadLetters: DeadLetters
  readonly #json = new JsonText(new OwnText())
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  /** Undefined when the table has none. Throws `transform.map_refused`. */
  static of(definition: TableDefinition, native: NativeText, pool: SlabPool): MapRecords | undefined {
    const { map, name } = definition
    if (map === undefined) return undefined
    if (map.kind === 'file') throw new LakeError('internal', `${name}: the function of ${map.file} was not read`)
    return new MapRecords(definition, map.text, native, pool)
  }

  private constructor(definition: TableDefinition, text: string, native: NativeText, pool: SlabPool) {
    this.#definition = definition
    this.#native = native
    this.#runner = new MapRunner(`${definition.name}.map`, text)
    this.#deadLetters = new DeadLetters(definition, native, pool, 'transform')
  }

  /** `fatal`: records that must not be touched. Throws `decode.stopped`, `transform.map_refused`. */
  apply(
    batches: readonly RecordBatch[],
    fatal: ReadonlySet<string>,
    retried: RetriedRecords | undefined,
  ): MappedRecords {
    const counts = new Map<PartitionId, MapCounts>()
    try {
      const mapped = batches.map((batch) => {
        const id = partitionId(batch.topic, batch.partition)
        const count = counts.get(id) ?? { filtered: 0, deadLetters: 0, skipped: 0 }
        counts.set(id, count)
        return this.#batch(batch, id, count, fatal, retried)
      })
      return { batches: mapped, deadLetters: this.#deadLetters.finish(), counts }
    } finally {
      this.#deadLetters.clear()
    }
  }

  #batch(
    batch: RecordBatch,
    id: PartitionId,
    count: MapCounts,
    fatal: ReadonlySet<string>,
    retried: RetriedRecords | undefined,
  ): MappedBatch {
    const { buffer, valueRanges } = batch
    const kept: number[] = []
    const ranges: number[] = []
    const texts: Uint8Array[] = [buffer]
    let bytes = buffer.length
    let isOpen = false
    for (let i = 0; i < batch.count; i++) {
      const [start, end] = [valueRanges[2 * i]!, valueRanges[2 * i + 1]!]
      const isLeft =
        start < 0 || (fatal.size > 0 && fatal.has(`${id}@${batch.offsets[i]}`)) || !this.#isObject(buffer, start, end)
      if (isLeft) {
        kept.push(i)
        ranges.push(start, end)
        continue
      }
      const mapped = this.#runner.map(this.#decoder.decode(buffer.subarray(start, end)))
      if ('failure' in mapped) {
        if (!isOpen) this.#deadLetters.open(this.#native.put(buffer))
        isOpen = true
        this.#reject(batch, i, this.#reason(mapped.failure), count, retried)
      } else if (mapped.text === undefined) count.filtered++
      else {
        const text = Buffer.from(mapped.text, 'utf8')
        texts.push(text)
        kept.push(i)
        ranges.push(bytes, (bytes += text.length))
      }
    }
    return picked(batch, kept, Buffer.concat(texts), Int32Array.from(ranges))
  }

  /** As strictly as the decoder reads: a duplicate key would be lost on the way. */
  #isObject(buffer: Uint8Array, start: number, end: number): boolean {
    if (end - start > RECORD_BYTES_MAX || !isUtf8(buffer.subarray(start, end))) return false
    const text = this.#json
    text.open(buffer, OWN_SEGMENT, start, end)
    text.own.used = 0
    try {
      if (text.token() !== OBJECT) return false
      text.skip()
      text.finish()
      return true
    } catch (error) {
      if (error !== MISFIT) throw error
      return false
    }
  }

  #reject(batch: RecordBatch, i: number, reason: Reason, count: MapCounts, retried: RetriedRecords | undefined): void {
    // A record that is read again and fails is a dead letter again.
    const onError = retried === undefined ? this.#definition.onError : 'dead-letter'
    if (onError === 'stop') throw stopped(this.#definition, batch, batch.offsets[i]!, reason, 'mapped', 'function')
    if (onError === 'skip') count.skipped++
    else {
      this.#deadLetters.add(batch, i, reason, retriedAt(retried, batch, i))
      count.deadLetters++
    }
  }

  /** What an error says may be a value of the record: a table that redacts does not keep it. */
  #reason(failure: string): Reason {
    const isRedacted = this.#definition.redact !== undefined
    const said = isRedacted ? failure.slice(0, failure.indexOf(':')) : failure
    return { code: 'transform.map_failed', message: `the function fails: ${said.slice(0, MESSAGE_CHARACTERS)}` }
  }
}

const OBJECT = 123
const MESSAGE_CHARACTERS = 500

/** Adds what came of the records that the decoder never saw. */
export function withMapped(decoded: Decoded, mapped: MappedRecords | undefined): Decoded {
  if (mapped === undefined) return decoded
  const { counts, deadLetters } = mapped
  const all = new Map(decoded.counts)
  for (const [id, { filtered, deadLetters: failed, skipped }] of counts) {
    const before = all.get(id)
    const count: MutableCounts = before ?? { rows: 0, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined }
    count.filtered = (count.filtered ?? 0) + filtered
    count.deadLetters += failed
    count.skipped += skipped
    if (before === undefined) all.set(id, count)
  }
  return { ...decoded, counts: all, deadLetters: [...decoded.deadLetters, ...deadLetters] }
}

function picked(batch: RecordBatch, kept: readonly number[], buffer: Uint8Array, valueRanges: Int32Array): MappedBatch {
  const pairs = (from: Int32Array): Int32Array =>
    Int32Array.from({ length: 2 * kept.length }, (_, k) => from[2 * kept[k >> 1]! + (k & 1)]!)
  const { appendTimes } = batch
  return {
    ...batch,
    buffer,
    count: kept.length,
    offsets: BigInt64Array.from(kept, (i) => batch.offsets[i]!),
    timestampsMs: Float64Array.from(kept, (i) => batch.timestampsMs[i]!),
    ...(appendTimes === undefined ? {} : { appendTimes: Uint8Array.from(kept, (i) => appendTimes[i]!) }),
    keyRanges: pairs(batch.keyRanges),
    valueRanges,
    recordRanges: pairs(batch.valueRanges),
    headers: (index) => batch.headers(kept[index]!),
  }
}
