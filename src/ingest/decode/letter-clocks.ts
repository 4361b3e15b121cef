import { partitionId, type PartitionId } from '../../log.ts'
import type { Slab } from './slab.ts'

/** Columns of dead letters. */
const [PARTITION, OFFSET] = [1, 2]

interface Waiting {
  readonly slab: Slab
  readonly row: number
  readonly offset: bigint
}

/** Dead letters of a micro-batch that wait for the clocks they came at; the clock is their last column, sealed as null. */
export class LetterClocks {
  /** By Kafka partition, the least offset last. */
  readonly #waiting = new Map<number, Waiting[]>()

  constructor(letters: readonly Slab[]) {
    for (const slab of letters) {
      const partitions = new Int32Array(slab.buffer, slab.columns[PARTITION]!.dataAt, slab.rows)
      const offsets = new BigInt64Array(slab.buffer, slab.columns[OFFSET]!.dataAt, slab.rows)
      for (let row = 0; row < slab.rows; row++) {
        const list = this.#waiting.get(partitions[row]!) ?? []
        this.#waiting.set(partitions[row]!, list)
        list.push({ slab, row, offset: offsets[row]! })
      }
    }
    for (const list of this.#waiting.values()) list.sort((a, b) => (a.offset < b.offset ? 1 : -1))
  }

  /** Whether some of the partition are below the offset. */
  isBelow(partition: number, offset: bigint): boolean {
    const next = this.#waiting.get(partition)?.at(-1)
    return next !== undefined && next.offset < offset
  }

  /** Those below the offset came at this clock. */
  passed(partition: number, offset: bigint, clockMs: number | undefined): void {
    const list = this.#waiting.get(partition)!
    while (list.length > 0 && list.at(-1)!.offset < offset) put(list.pop()!, clockMs)
  }

  /** All that are left. */
  set(clockMsOf: (id: PartitionId, offset: bigint) => number | undefined, topic: string): void {
    for (const [partition, list] of this.#waiting)
      for (const letter of list.splice(0)) put(letter, clockMsOf(partitionId(topic, partition), letter.offset))
  }
}

function put({ slab, row }: Waiting, clockMs: number | undefined): void {
  const { dataAt, validAt } = slab.columns.at(-1)!
  if (clockMs === undefined) return
  new BigInt64Array(slab.buffer, dataAt, slab.rows)[row] = BigInt(clockMs) * 1000n
  new Uint8Array(slab.buffer, validAt)[row >> 3]! |= 1 << (row & 7)
}
