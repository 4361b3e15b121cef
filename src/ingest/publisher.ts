import type { Clock } from '../clock.ts'
import type { PipelineDefinition } from '../define.ts'
import { publishedTables, type PublishedTable } from '../define-topic.ts'
import type { Observer } from '../event.ts'
import type { Chain } from '../lake/chain.ts'
import type { Storage } from '../lake/table.ts'
import type { Version } from '../version.ts'
import type { ChangeSink } from './change-sink.ts'
import { Changes } from './changes.ts'
import type { TableWork } from './keys.ts'
import { TablePublisher } from './table-publisher.ts'

export interface PublisherParts {
  readonly definition: PipelineDefinition
  readonly chain: Chain
  readonly storage: Storage
  readonly clock: Clock
  readonly observer: Observer
  readonly sink: ChangeSink
  readonly work: () => TableWork
}

/** A send that is under way at the end of a run is waited for so long: whoever goes on from there sends it again. */
const CLOSE_MS_MAX = 2_000
const CATCH_UP_MS_MAX = 1_000
const CATCH_UP_LOOK_MS = 10

/**
 * Publishes what a run commits to the topics of its tables, beside the commits, which never wait for it.
 * What was sent stands in the version that is committed next (`published`), and everything after it is sent again after
 * a crash: at least once, never lost.
 */
export class Publisher {
  readonly #tables: readonly TablePublisher[]
  readonly #changes: Changes | undefined
  readonly #parts: PublisherParts | undefined
  readonly #stop = new AbortController()
  readonly #running: Promise<unknown>

  private constructor(parts?: PublisherParts, head?: Version, published: readonly PublishedTable[] = []) {
    this.#parts = parts
    this.#changes = parts === undefined ? undefined : new Changes(parts.clock)
    this.#tables = published.map((table) => new TablePublisher(parts!, table, head!))
    this.#running = Promise.all(this.#tables.map((table) => table.run(this.#changes!, this.#stop.signal)))
  }

  /** Of a pipeline without change topics. */
  static readonly none = new Publisher()

  /** Goes on from where the head says; `open` gives the parts, when a table has a topic. */
  static open(definition: PipelineDefinition, head: Version, open: () => PublisherParts): Publisher {
    const published = publishedTables(definition)
    return published.length === 0 ? Publisher.none : new Publisher(open(), head, published)
  }

  /** What the next version says of what was sent before it. */
  get published(): Version['published'] {
    const sent = this.#tables.map(({ name, published }) => [name, published] as const)
    return Object.fromEntries(sent.filter((each): each is [string, bigint] => each[1] !== undefined))
  }

  /** A version was committed, or is the head that the run began with. */
  saw(head: Version): void {
    let isNews = false
    for (const table of this.#tables) isNews = table.saw(head) || isNews
    if (isNews) this.#changes?.notify()
  }

  /** Waits until everything seen is sent; not for long, and not where sending fails. */
  async caughtUp(signal: AbortSignal): Promise<void> {
    if (this.#parts === undefined) return
    const { clock } = this.#parts
    const startMs = clock.monotonicMs()
    const isDue = () => clock.monotonicMs() - startMs < CATCH_UP_MS_MAX && !signal.aborted
    while (this.#tables.some((table) => table.isSending) && isDue()) await clock.sleep(CATCH_UP_LOOK_MS, signal)
  }

  async close(): Promise<void> {
    if (this.#parts === undefined) return
    const { clock, sink } = this.#parts
    this.#stop.abort()
    const timer = new AbortController()
    await Promise.race([this.#running, clock.sleep(CLOSE_MS_MAX, timer.signal)])
    timer.abort()
    await sink.close().catch(() => undefined)
  }
}
