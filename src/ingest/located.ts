import { LakeError } from '../error.ts'
import { partitionId, type RecordBatch } from '../log.ts'
import { schemaIdAt } from './decode/avro-schemas.ts'

/** What `read` gives. A schema that does not fit is told with the first record that has it: its partition is to wait there. */
export function located<T>(batches: readonly RecordBatch[], read: () => T): T {
  try {
    return read()
  } catch (error) {
    const id =
      error instanceof LakeError && error.code === 'schema.incompatible' ? error.context['schemaId'] : undefined
    const found = typeof id === 'number' ? firstWith(batches, id) : undefined
    if (found === undefined) throw error
    const { message, context, fix } = error as LakeError
    throw new LakeError('schema.incompatible', message, {
      context: { ...context, ...found },
      ...(fix === undefined ? {} : { fix }),
      cause: error,
    })
  }
}

function firstWith(batches: readonly RecordBatch[], id: number) {
  for (const { topic, partition, buffer, valueRanges, offsets, count } of batches) {
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length)
    for (let i = 0; i < count; i++)
      if (schemaIdAt(view, valueRanges[2 * i]!, valueRanges[2 * i + 1]!) === id)
        return { partition: partitionId(topic, partition), offset: String(offsets[i]) }
  }
  return undefined
}
