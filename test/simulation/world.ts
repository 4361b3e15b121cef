import type { Clock } from '../../src/clock.ts'
import type { Random } from './random.ts'

interface SimEvent {
  readonly atMs: number
  readonly order: number
  readonly what: string
  run: (() => void) | undefined
}

/** Time that moves from event to event, ordered by (time, order of scheduling), and what has happened so far. */
export class World {
  nowMs = 0
  /** Faults happen and records are written; afterwards all must come to rest. */
  isStormy = true
  events = 0
  /** Over times and names of all events: equal in two runs of one seed. */
  hash = 0x811c9dc5
  /** How often each kind of fault happened. */
  readonly faults = new Map<string, number>()
  readonly #heap: SimEvent[] = []
  readonly #trace: ((line: string) => void) | undefined
  #order = 0

  constructor(trace?: (line: string) => void) {
    this.#trace = trace
  }

  /** Runs `run` after `ms`; the answer takes it back. */
  after(ms: number, what: string, run: () => void): () => void {
    const event: SimEvent = { atMs: this.nowMs + Math.max(0, ms), order: this.#order++, what, run }
    push(this.#heap, event)
    return () => (event.run = undefined)
  }

  sleep(ms: number, what: string): Promise<void> {
    return new Promise((resolve) => this.after(ms, what, resolve))
  }

  /** Lets events happen until `isOver`, or until the time has come. */
  async run(untilMs: number, isOver: () => boolean = () => false): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    while (!isOver() && this.#heap.length > 0 && this.#heap[0]!.atMs <= untilMs) {
      const event = pop(this.#heap)
      if (event.run === undefined) continue
      this.nowMs = event.atMs
      this.events++
      this.mix(event.what)
      event.run()
      // Everything that follows from the event without time passing is done when the event loop comes round.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  fault(kind: string, detail = ''): void {
    this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1)
    this.say(`fault ${kind} ${detail}`)
  }

  say(line: string): void {
    this.mix(line)
    this.#trace?.(`${(this.nowMs / 1000).toFixed(3).padStart(9)} ${line}`)
  }

  mix(text: string): void {
    let hash = this.hash ^ Math.floor(this.nowMs * 1000)
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
    this.hash = hash
  }

  /** The world's own clock, for what lives outside of all processes. */
  clock(random: Random): Clock {
    return {
      nowMs: () => EPOCH_MS + this.nowMs,
      monotonicMs: () => this.nowMs,
      sleep: (ms) => this.sleep(ms, 'world'),
      random: random.next,
      uuid: () => random.uuid(),
    }
  }
}

export const EPOCH_MS = Date.UTC(2026, 0, 1)

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

function push(heap: SimEvent[], event: SimEvent): void {
  let at = heap.push(event) - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!isBefore(event, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = event
}

function pop(heap: SimEvent[]): SimEvent {
  const first = heap[0]!
  const last = heap.pop()!
  if (heap.length === 0) return first
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
    if (!isBefore(heap[child]!, last)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = last
  return first
}
