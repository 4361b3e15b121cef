import { createReadStream } from 'node:fs'
import { HEADERS, type ChangeRecord } from './change-sink.ts'

/** Characters of a batch; with headers it stays below the 1 MiB that a broker takes by default. */
const BATCH_LENGTH = 256 << 10

/**
 * The records of a file of changes (`ChangeFile`) in batches, with their positions among the headers, which go on from
 * `from`; the one at 0 has those of `first` too.
 */
export async function* readRecords(
  path: string,
  headers: ChangeRecord['headers'],
  first: ChangeRecord['headers'],
  from = 0,
): AsyncGenerator<readonly ChangeRecord[]> {
  let [position, rest] = [from, '']
  for await (const piece of createReadStream(path, { encoding: 'utf8', highWaterMark: BATCH_LENGTH })) {
    const lines = (rest + (piece as string)).split('\n')
    rest = lines.pop()!
    const records = lines.map((line): ChangeRecord => {
      const [key, value] = JSON.parse(line) as [string | number, string | null]
      const more = position === 0 ? first : {}
      const place = typeof key === 'number' ? { key: null, partition: key } : { key }
      return { ...place, value, headers: { ...headers, [HEADERS.position]: String(position++), ...more } }
    })
    if (records.length > 0) yield records
  }
}
