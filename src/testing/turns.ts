import type { Encoder } from '../ingest/lane.ts'
import type { TableWork } from '../ingest/keys.ts'
import type { WindowFold } from '../ingest/window/window.ts'

/**
 * The work that takes real time: DuckDB and files. It is done one piece after the other, in the order in which it was
 * asked for, so that a seed decides what comes when; and it is known when nothing is under way, which is when virtual
 * time may move.
 */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()
  #open = 0

  do<T>(work: () => Promise<T>): Promise<T> {
    this.#open++
    const now = this.#last.then(work).finally(() => this.#open--)
    this.#last = now.catch(() => undefined)
    return now
  }

  /** Resolves when all that follows without time passing has happened. */
  async quiet(): Promise<void> {
    for (let rounds = 0; rounds < QUIET_ROUNDS;) {
      await this.#last
      await new Promise<void>((resolve) => setImmediate(resolve))
      rounds = this.#open === 0 ? rounds + 1 : 0
    }
  }

  encoder(inner: Encoder): Encoder {
    return {
      encode: (...args) => this.do(() => inner.encode(...args)),
      close: () => this.do(() => inner.close()),
    }
  }

  work(inner: TableWork): TableWork {
    return {
      readKeys: (...args) => this.do(() => inner.readKeys(...args)),
      rowsWithin: (...args) => this.do(() => inner.rowsWithin(...args)),
      concatenate: (...args) => this.do(() => inner.concatenate(...args)),
      fill: (...args) => this.do(() => inner.fill(...args)),
      changes: (...args) => this.do(() => inner.changes(...args)),
      compare: (...args) => this.do(() => inner.compare(...args)),
    }
  }

  fold(inner: WindowFold): WindowFold {
    return {
      load: (...args) => this.do(() => inner.load(...args)),
      fold: (...args) => this.do(() => inner.fold(...args)),
      moved: (...args) => this.do(() => inner.moved(...args)),
      discard: (...args) => this.do(() => inner.discard(...args)),
      close: () => this.do(() => inner.close()),
    }
  }
}

/** What one await makes possible, the next one may wait for. */
const QUIET_ROUNDS = 2
