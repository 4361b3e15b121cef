import { LakeError } from '../../src/error.ts'
import {
  isOver,
  REPLAY,
  type ReplayDifference,
  type ReplayOptions,
  type ReplayOrder,
  type ReplayPhase,
  type ReplayProgress,
  type Replays,
  type ReplayStatus,
} from '../../src/replay-status.ts'

/** Replays that do nothing by themselves: a test says how they get on. */
export class FakeReplays implements Replays {
  readonly orders: { readonly id: string; readonly order: ReplayOrder }[] = []
  readonly started: { readonly pipeline: string; readonly options: Partial<ReplayOptions>; readonly key?: string }[] =
    []
  readonly differences = new Map<string, ReplayDifference>()
  /** Watches that nobody has let go of. */
  watching = 0
  /** Called after an order was accepted: what becomes of it. */
  onOrder: (status: ReplayStatus, order: ReplayOrder) => void = () => undefined
  readonly #replays = new Map<string, ReplayStatus>()
  readonly #changed = new Set<() => void>()

  async start(pipeline: string, options: Partial<ReplayOptions>, key?: string): Promise<ReplayStatus> {
    const running = [...this.#replays.values()].find((each) => each.pipeline === pipeline && !isOver(each))
    if (running !== undefined)
      throw new LakeError('replay.running', `the pipeline ${pipeline} has a replay that is not over`, {
        context: { replay: running.id },
        fix: 'Wait for it, or cancel it.',
      })
    this.started.push({ pipeline, options, ...(key === undefined ? {} : { key }) })
    return this.put({
      id: String(this.#replays.size + 1)
        .repeat(64)
        .slice(0, 64),
      pipeline,
      options: { ...REPLAY, ...options },
    })
  }

  async list(): Promise<readonly ReplayStatus[]> {
    return [...this.#replays.values()].toReversed()
  }

  async get(id: string): Promise<ReplayStatus> {
    const status = this.#replays.get(id)
    if (status === undefined) throw new LakeError('replay.unknown', `there is no replay ${id}`)
    return status
  }

  async difference(id: string): Promise<ReplayDifference> {
    const { state, progress } = await this.get(id)
    const found = this.differences.get(id)
    if (found !== undefined) return found
    throw new LakeError('replay.state', 'nothing was compared yet', { context: { state, phase: progress?.phase } })
  }

  async order(id: string, order: ReplayOrder): Promise<ReplayStatus> {
    const status = await this.get(id)
    const { state, progress, difference } = status
    const phase = progress?.phase
    const applies =
      order.kind === 'rollback' ? phase === 'cut-over' : order.kind === 'cutover' ? phase === 'ready' : !isOver(status)
    if (!applies)
      throw new LakeError('replay.state', `the replay is ${state}, phase ${phase}: ${order.kind} does not apply`, {
        context: { state, ...(phase === undefined ? {} : { phase }) },
        fix: 'Look at it with "kappalake replay list".',
      })
    if (order.kind === 'cutover' && difference?.isEqual === false && order.approve !== difference.id)
      throw new LakeError('replay.diff_unapproved', 'the rebuilt tables differ from the live ones', {
        context: { difference: difference.id },
        fix: 'Look at the difference, then name its id.',
      })
    this.orders.push({ id, order })
    this.onOrder(status, order)
    return this.get(id)
  }

  async *watch(id: string, signal?: AbortSignal): AsyncIterable<ReplayStatus> {
    let told: ReplayStatus | undefined
    this.watching++
    try {
      while (signal?.aborted !== true) {
        const status = await this.get(id)
        if (status === told) await this.#change(signal)
        else {
          told = status
          yield status
          if (isOver(status)) return
        }
      }
    } finally {
      this.watching--
    }
  }

  /** Makes a replay, or changes one. */
  put(given: Partial<ReplayStatus> & { readonly id: string }): ReplayStatus {
    const status = { ...(this.#replays.get(given.id) ?? QUEUED), ...given }
    this.#replays.set(given.id, status)
    if (status.difference !== null && !this.differences.has(given.id))
      this.differences.set(given.id, { ...DIFFERENCE, ...status.difference })
    for (const wake of this.#changed) wake()
    return status
  }

  /** The replay is running, and stands here. */
  phase(id: string, phase: ReplayPhase, progress: Partial<ReplayProgress> = {}): ReplayStatus {
    const before = this.#replays.get(id)?.progress ?? PROGRESS
    return this.put({ id, state: 'running', version: '12', writer: 'w', progress: { ...before, ...progress, phase } })
  }

  #change(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#changed.delete(wake)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      this.#changed.add(wake)
      signal?.addEventListener('abort', wake, { once: true })
      if (signal?.aborted === true) wake()
    })
  }
}

export const QUEUED: ReplayStatus = {
  id: 'a'.repeat(64),
  pipeline: 'shop',
  options: REPLAY,
  codes: {},
  state: 'queued',
  createdMs: Date.UTC(2026, 10, 21, 10),
  endedMs: null,
  writer: null,
  version: null,
  rebuilt: ['revenue_1m'],
  shared: ['orders'],
  progress: null,
  difference: null,
  cutover: null,
  error: null,
}

export const PROGRESS: ReplayProgress = {
  phase: 'rebuilding',
  isPaused: false,
  done: '9007199254740993',
  total: '18014398509481986',
  percent: 50,
  ratePerSecond: 125_000.5,
  etaSeconds: 75,
  lag: null,
  partitions: [{ partition: 'shop.orders/0', from: '0', until: '18014398509481986', position: '9007199254740993' }],
}

const SAME = { added: [], removed: [], retyped: [] }
const NOTHING = {
  groupsCompared: 3,
  groupsDifferent: 0,
  groups: [],
  added: '0',
  removed: '0',
  changed: '0',
  samples: [],
}

/** One table of each kind. */
export const DIFFERENCE: ReplayDifference = {
  id: 'd1ff0000',
  isEqual: false,
  version: '12',
  tables: [
    {
      ...NOTHING,
      table: 'orders',
      kind: 'equal',
      columns: SAME,
      rowsBefore: '20412',
      rowsAfter: '20412',
      digestBefore: '0123456789abcdef0123456789abcdef',
      digestAfter: '0123456789abcdef0123456789abcdef',
      leftOut: [],
    },
    {
      table: 'revenue_1m',
      kind: 'different',
      columns: { added: ['average'], removed: [], retyped: ['n: int → long'] },
      rowsBefore: '120',
      rowsAfter: '119',
      digestBefore: '0123456789abcdef0123456789abcdef',
      digestAfter: '0123456789abcdef0123456789abcdee',
      groupsCompared: 60,
      groupsDifferent: 2,
      groups: [
        { group: '2026-11-21T10:00:00.000000Z', rowsBefore: '4', rowsAfter: '3' },
        { group: '2026-11-21T10:01:00.000000Z', rowsBefore: '4', rowsAfter: '4' },
      ],
      added: '0',
      removed: '1',
      changed: '1',
      samples: [
        {
          change: 'removed',
          key: { status: 'cancelled', window_start: '2026-11-21T10:00:00.000000Z' },
          before: { n: '7', revenue: '120.50' },
          after: null,
          record: null,
        },
        {
          change: 'changed',
          key: { status: 'paid', window_start: '2026-11-21T10:01:00.000000Z' },
          before: { n: '7', revenue: '120.50' },
          after: { n: '7', revenue: '12.05' },
          record: 'shop.orders/0@1234',
        },
      ],
      leftOut: ['_final and _corrections say when a row was written, not what it says'],
    },
    {
      ...NOTHING,
      table: 'late_orders',
      kind: 'new',
      columns: { added: ['orderId', 'amount'], removed: [], retyped: [] },
      rowsBefore: '0',
      rowsAfter: '17',
      digestBefore: '00000000000000000000000000000000',
      digestAfter: '0123456789abcdef0123456789abcdef',
      leftOut: [],
    },
  ],
}
