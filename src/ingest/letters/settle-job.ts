import { NOTHING_SETTLED, type SettledCounts, type SettleRequest } from '../../dead-letters.ts'
import type { LakeError } from '../../error.ts'

/** A job on dead letters that somebody waits for: kept where runs come and go. */
export class SettleJob {
  /** Of the job in the store. */
  readonly id: string
  readonly request: SettleRequest
  isDone = false
  /** Why it was given up. */
  error: LakeError | undefined
  counts: SettledCounts = NOTHING_SETTLED

  constructor(id: string, request: SettleRequest) {
    this.id = id
    this.request = request
  }

  get isOpen(): boolean {
    return !this.isDone && this.error === undefined
  }
}
