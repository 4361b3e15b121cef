import { LakeError } from '../../src/error.ts'
import type { StagedCounts } from '../../src/ingest/lane.ts'
import {
  recordText,
  type FindRequest,
  type FoundLetter,
  type LetterRows,
  type LetterWork,
  type Restaged,
  type RestageRequest,
} from '../../src/ingest/letters/letters.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import type { DataFile, WritePlan } from '../../src/lake/table.ts'
import { partitionId, type PartitionId } from '../../src/log.ts'
import { mended } from './letters.ts'
import type { SimProcess } from './process.ts'
import { storedRows, workOnFiles, writeRows } from './row-files.ts'
import type { SimRow } from './row-encoder.ts'

/** Work on dead letters of append tables, over rows in JSON: fails, is slow, and is done again when its lane dies. */
export class RowLetters implements LetterWork {
  readonly #process: SimProcess
  readonly #storage: Storage

  constructor(process: SimProcess, storage: Storage) {
    this.#process = process
    this.#storage = storage
  }

  find(_: WritePlan, { files, status, where, behind, limit }: FindRequest): Promise<readonly FoundLetter[]> {
    return workOnFiles(this.#process, 'find', async () => {
      const found: FoundLetter[] = []
      for (const { file, deleted } of files)
        for (const [row, letter] of (await storedRows(this.#storage, file.key)).entries()) {
          if (deleted.has(row) || (letter.s ?? 'pending') !== status) continue
          if (where.partition !== undefined && where.partition !== letter.p) continue
          const [partition, offset] = [letter.p, BigInt(letter.o)]
          const known = { code: 'decode.json', attempts: letter.attempts ?? 0, clockMs: undefined }
          found.push({ file: file.key, row, partition, offset, ...known })
        }
      // As many as the bytes of their records allow, it might be.
      const most = Math.min(limit, this.#process.plan.letters!.batch)
      return found
        .toSorted(compare)
        .filter((each) => behind === undefined || compare(each, { ...behind, offset: BigInt(behind.offset) }) > 0)
        .slice(0, most)
    })
  }

  restage({ definition, plan, letters, records }: RestageRequest): Promise<Restaged> {
    return workOnFiles(this.#process, 'restage', async () => {
      const [rows, failed, resolved]: SimRow[][] = [[], [], []]
      const counts = new Map<PartitionId, StagedCounts>()
      for (const letter of await this.#picked(letters)) {
        const { p, o, v: text, attempts = 0 } = letter
        const place = recordText(definition.topic, { partition: p, offset: BigInt(o) })
        if (!records.has(place)) throw new LakeError('internal', `${place} is to be read again, and nobody asked`)
        const id = partitionId(definition.topic, p)
        const before = counts.get(id) ?? { rows: 0, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined }
        const v = mended(text)
        counts.set(id, {
          ...before,
          [v === undefined ? 'deadLetters' : 'rows']: 1 + before[v === undefined ? 'deadLetters' : 'rows'],
        })
        if (v === undefined) failed!.push({ ...letter, attempts: attempts + 1 })
        else {
          rows!.push({ p, o, v })
          resolved!.push({ ...letter, s: 'resolved', attempts: attempts + 1 })
        }
      }
      const write = async (to: WritePlan, all: readonly SimRow[]): Promise<DataFile[]> =>
        all.length === 0 ? [] : [await writeRows(this.#process, this.#storage, to, all)]
      return {
        staged: {
          table: plan.table,
          files: await write(plan.data, rows!),
          deadLetterFiles: await write(plan.deadLetters, failed!),
          counts,
        },
        resolved: (await write(plan.deadLetters, resolved!))[0],
        failed: failed!.map(({ p, o }) => recordText(definition.topic, { partition: p, offset: BigInt(o) })),
      }
    })
  }

  settle(plan: WritePlan, letters: readonly LetterRows[], status: 'discarded'): Promise<DataFile> {
    return workOnFiles(this.#process, 'settle', async () => {
      const rows = (await this.#picked(letters)).map((letter): SimRow => ({ ...letter, s: status }))
      return writeRows(this.#process, this.#storage, plan, rows)
    })
  }

  /** Of keyed tables, whose dead letters nobody touches here. */
  offsetsOf(): Promise<never> {
    return Promise.reject(new LakeError('internal', 'no dead letters of keyed tables are settled here'))
  }

  later(): Promise<never> {
    return this.offsetsOf()
  }

  async #picked(letters: readonly LetterRows[]): Promise<readonly SimRow[]> {
    const all: SimRow[] = []
    for (const { file, rows } of letters) {
      const stored = await storedRows(this.#storage, file.key)
      all.push(...rows.map((row) => stored[row]!))
    }
    return all
  }
}

type Place = Pick<FoundLetter, 'partition' | 'offset'>

function compare(a: Place, b: Place): number {
  return a.partition - b.partition || Number(a.offset - b.offset)
}
