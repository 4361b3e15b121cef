/**
 * The wall clock of a time zone, from the tz database of the runtime. A local time is written as the instant at which a
 * clock in UTC shows it, so that `local = instant + offset`.
 */
export interface WallClock {
  /** The first instant at which the wall clock shows `localMs` or more: of a time that it skips, the instant of the jump. */
  firstAt(localMs: number): number
  /** The latest local time that the wall clock has shown up to and at `ms`: more than it shows when it was set back. */
  latestBy(ms: number): number
}

/** A stretch of time with one offset from UTC; half-open. It may be followed by another with the same offset. */
interface Stretch {
  readonly fromMs: number
  readonly untilMs: number
  readonly offsetMs: number
}

const DAY_MS = 86_400_000
/** Changes of offset are looked for so far apart: the two closest that are known to cancel each other are four days apart. */
const PROBE_MS = 3 * DAY_MS
/** Probes are made for so much time at once; a divisor of the cycle below. */
const CHUNK_MS = 63 * PROBE_MS
/** The Gregorian calendar repeats, weekdays included, and with it the rules of all zones from `PERIODIC_MS` on. */
const CYCLE_CHUNKS = 773
const PERIODIC_MS = Date.UTC(2100, 0, 1)
/** Before this chunk, which begins in 1799, every place had its own solar time. */
const SOLAR_CHUNK = -581

const clocks = new Map<string, ZoneClock>()

/** One per zone for the life of the process: what has been looked up once is not looked up again. */
export function wallClock(timeZone: string): WallClock {
  let clock = clocks.get(timeZone)
  if (clock === undefined) {
    clock = new ZoneClock(timeZone)
    clocks.set(timeZone, clock)
  }
  return clock
}

class ZoneClock implements WallClock {
  readonly #format: Intl.DateTimeFormat
  /** By number; bounded, since the numbers are. */
  readonly #chunks = new Map<number, readonly Stretch[]>()

  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat('en-US', { timeZone, hour: 'numeric', timeZoneName: 'longOffset' })
  }

  firstAt(localMs: number): number {
    // No offset is a day or more.
    let from = localMs - DAY_MS
    for (;;) {
      const { untilMs, offsetMs } = this.#stretchAt(from)
      const instant = Math.max(from, localMs - offsetMs)
      if (instant < untilMs) return instant
      from = untilMs
    }
  }

  latestBy(ms: number): number {
    // It is never set back by two days or more.
    let from = ms - 2 * DAY_MS
    let latest = Number.NEGATIVE_INFINITY
    for (;;) {
      const { untilMs, offsetMs } = this.#stretchAt(from)
      latest = Math.max(latest, Math.min(ms, untilMs - 1) + offsetMs)
      if (ms < untilMs) return latest
      from = untilMs
    }
  }

  #stretchAt(ms: number): Stretch {
    const chunk = Math.floor((ms - PERIODIC_MS) / CHUNK_MS)
    if (chunk < SOLAR_CHUNK) {
      const untilMs = PERIODIC_MS + SOLAR_CHUNK * CHUNK_MS
      return { fromMs: Number.NEGATIVE_INFINITY, untilMs, offsetMs: this.#offsetAt(untilMs - 1) }
    }
    const cycles = Math.max(0, Math.floor(chunk / CYCLE_CHUNKS))
    const shiftMs = cycles * CYCLE_CHUNKS * CHUNK_MS
    const { fromMs, untilMs, offsetMs } = this.#chunk(chunk - cycles * CYCLE_CHUNKS).find(
      (stretch) => ms - shiftMs < stretch.untilMs,
    )!
    return { fromMs: fromMs + shiftMs, untilMs: untilMs + shiftMs, offsetMs }
  }

  #chunk(number: number): readonly Stretch[] {
    const known = this.#chunks.get(number)
    if (known !== undefined) return known
    const stretches: Stretch[] = []
    const startMs = PERIODIC_MS + number * CHUNK_MS
    let fromMs = startMs
    let offsetMs = this.#offsetAt(startMs)
    for (let probeMs = startMs; probeMs < startMs + CHUNK_MS; probeMs += PROBE_MS) {
      const after = this.#offsetAt(probeMs + PROBE_MS)
      if (after === offsetMs) continue
      const changeMs = this.#changeBetween(probeMs, probeMs + PROBE_MS)
      stretches.push({ fromMs, untilMs: changeMs, offsetMs })
      fromMs = changeMs
      offsetMs = after
    }
    if (fromMs < startMs + CHUNK_MS) stretches.push({ fromMs, untilMs: startMs + CHUNK_MS, offsetMs })
    this.#chunks.set(number, stretches)
    return stretches
  }

  /** The first instant at which the offset is no longer the one at `beforeMs`; at `afterMs` it is another. */
  #changeBetween(beforeMs: number, afterMs: number): number {
    const offsetMs = this.#offsetAt(beforeMs)
    let before = beforeMs
    let after = afterMs
    while (after - before > 1) {
      const middle = Math.floor((before + after) / 2)
      if (this.#offsetAt(middle) === offsetMs) before = middle
      else after = middle
    }
    return after
  }

  #offsetAt(ms: number): number {
    // The text ends like `GMT+05:45`; seconds stand there when there are any.
    const text = this.#format.format(ms)
    const [, sign, hours, minutes, seconds] = /GMT(?:([+-])(\d+):(\d+)(?::(\d+))?)?$/.exec(text)!
    if (sign === undefined) return 0
    const offsetMs = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds ?? 0)) * 1000
    return sign === '-' ? -offsetMs : offsetMs
  }
}
