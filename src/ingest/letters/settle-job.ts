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
  /** Number of the head at which this process last looked at it, or knew of when it was asked. */
  seenAt: bigint | undefined

  constructor(id: string, request: SettleRequest, seenAt?: bigint) {
    this.id = id
    this.request = request
    this.seenAt = seenAt
  }

  get isOpen(): boolean {
    return !this.isDone && this.error === undefined
  }
}
