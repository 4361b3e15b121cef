import { createHash } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { Chain } from '../lake/chain.ts'
import { dropTag, holdFor, type Storage } from '../lake/table.ts'
import type { Version } from '../version.ts'

/** All versions are readable for an hour: well before that is over one that is still needed is held. */
const BEHIND_MS = 20 * 60_000
const AGAIN_MS = 10 * 60_000
const HOLD_MS = 7 * 86_400_000

/**
 * Holds the version that was sent last while much is still to be sent, so that what comes after it can always be told by
 * a difference. A process that dies leaves a tag that is over by itself.
 */
export class VersionHold {
  readonly #storage: Storage
  readonly #chain: Chain
  readonly #clock: Clock
  readonly #tag: string
  #dueMs = 0
  #isHeld = false

  constructor({ storage, chain, clock }: { storage: Storage; chain: Chain; clock: Clock }, table: string) {
    this.#storage = storage
    this.#chain = chain
    this.#clock = clock
    // Names of tables have more characters than names of tags.
    this.#tag = `published-${createHash('sha256').update(table).digest('hex').slice(0, 16)}`
  }

  /** `sent` is a version that is there. */
  async look(sent: Version, head: Version): Promise<void> {
    const isBehind = Date.parse(head.time) - Date.parse(sent.time) > BEHIND_MS
    if (!isBehind || this.#clock.monotonicMs() < this.#dueMs) return
    const tag = { name: this.#tag, version: sent.number }
    await holdFor(this.#storage, this.#chain.pipeline, tag, HOLD_MS, this.#clock)
    this.#isHeld = true
    this.#dueMs = this.#clock.monotonicMs() + AGAIN_MS
  }

  /** Nothing is to be sent any more. */
  async letGo(): Promise<void> {
    if (!this.#isHeld) return
    await dropTag(this.#storage, this.#chain.pipeline, this.#tag)
    this.#isHeld = false
    this.#dueMs = 0
  }
}
