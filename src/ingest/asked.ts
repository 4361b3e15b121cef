import { LakeError } from '../error.ts'

/** What a run is asked for, and looks at between two batches. */
export interface Asked {
  readonly isOpen: boolean
  readonly isDone: boolean
  /** Why it was given up. */
  readonly error: LakeError | undefined
}

/**
 * Asks for something, unless it was asked before, and gives it back when it is done. `until` resolves when its argument
 * holds, or when the pipeline is paused. Throws why it was given up, and `pipeline.paused`.
 */
export async function finished<R extends Asked>(
  pipeline: string,
  all: Map<string, R>,
  key: string,
  asked: R,
  until: (holds: () => boolean) => Promise<void>,
): Promise<R> {
  const request = all.get(key) ?? asked
  all.set(key, request)
  try {
    await until(() => !request.isOpen)
    if (request.error !== undefined) throw request.error
    if (!request.isDone) throw new LakeError('pipeline.paused', `pipeline ${pipeline} was paused meanwhile`)
  } finally {
    all.delete(key)
  }
  return request
}
