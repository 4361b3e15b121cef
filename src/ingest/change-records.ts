import { createReadStream } from 'node:fs'
import { HEADERS, type ChangeRecord } from './change-sink.ts'

/** Characters of a batch; with headers it stays below the 1 MiB that a broker takes by default. */
const BATCH_LENGTH = 256 << 10

/**
 * The records of a file of changes (`ChangeFile`) in batches, with their positions among the headers; the first one has
 * those of `first` too.
 */
export async function* readRecords(
  path: string,
  headers: ChangeRecord['headers'],
  first: ChangeRecord['headers'],
): AsyncGenerator<readonly ChangeRecord[]> {
  let [position, rest] = [0, '']
  for await (const piece of createReadStream(path, { encoding: 'utf8', highWaterMark: BATCH_LENGTH })) {
    const lines = (rest + (piece as string)).split('\n')
    rest = lines.pop()!
    const records = lines.map((line): ChangeRecord => {
      const [key, value] = JSON.parse(line) as [string, string | null]
      const more = position === 0 ? first : {}
      return { key, value, headers: { ...headers, [HEADERS.position]: String(position++), ...more } }
    })
    if (records.length > 0) yield records
  }
}
