import type { LakeError } from '../error.ts'

/** What a run is asked for, and looks at between two batches. */
export interface Asked {
  readonly isOpen: boolean
  readonly isDone: boolean
  /** Why it was given up. */
  readonly error: LakeError | undefined
}

/**
 * Asks for something, unless it was asked before, and gives it back when it is done. `until` resolves when its argument
 * holds, or when nobody here is going to do it. Throws why it was given up, or `whyNot`.
 */
export async function finished<R extends Asked>(
  all: Map<string, R>,
  key: string,
  asked: R,
  until: (holds: () => boolean) => Promise<void>,
  whyNot: () => LakeError,
): Promise<R> {
  const request = all.get(key) ?? asked
  all.set(key, request)
  try {
    await until(() => !request.isOpen)
    if (request.error !== undefined) throw request.error
    if (!request.isDone) throw whyNot()
  } finally {
    all.delete(key)
  }
  return request
}
