import type { LakeDefinition } from '../define.ts'
import type { LakeEvent } from '../event.ts'
import type { Lake, OpenOptions } from '../index.ts'
import { redacted } from '../redact.ts'
import { assertServable, listen, type Listening } from '../server/listen.ts'
import type { HttpSettings, Settings } from '../settings.ts'
import type { PipelineStatus } from '../status.ts'
import type { CliContext } from './context.ts'

/** How a lake is opened: `open` of the library, or what a test puts in its place. */
export type OpenLake = (definition: LakeDefinition, settings: Settings, options?: OpenOptions) => Promise<Lake>

/** A lake must let go of its pipelines within this time; what is not committed then is read again at the next start. */
const CLOSE_MS_MAX = 10_000
const STATUS_MS = { tty: 1_000, other: 10_000 } as const

/** Opens a lake, serves its API and runs `work` beside it, then closes all. Without `work` it runs until the signal. */
export async function runLake<T>(
  context: CliContext,
  openLake: OpenLake,
  definition: LakeDefinition,
  settings: Settings,
  work: (lake: Lake, signal: AbortSignal) => Promise<T>,
  options: Pick<OpenOptions, 'acceptCode'> & { readonly lineOf?: (event: LakeEvent) => string | undefined } = {},
): Promise<T> {
  const { lineOf = stateLine, ...opened } = options
  // A second start by mistake must not take pipelines over from the first one before it finds the port taken.
  await assertServable(settings.http)
  const lake = await openLake(definition, settings, {
    ...opened,
    signal: context.signal,
    clock: context.clock,
    observer: (event) => {
      const line = settings.log.level === 'silent' ? undefined : lineOf(event)
      if (line !== undefined) context.err.write(line)
    },
  })
  let server: Listening | undefined
  try {
    server = await listen(lake.http(), settings.http)
    return await work(lake, context.signal)
  } finally {
    await server?.close()
    await within(lake.close(), CLOSE_MS_MAX, context)
  }
}

/** Resolves when the process is asked to end. */
export function untilEnd(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

export function addressOf({ host, port }: HttpSettings): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** One line for each pipeline: rewritten again and again on a terminal, otherwise every ten seconds what has changed. */
export async function showStatus(context: CliContext, lake: Lake, signal: AbortSignal): Promise<void> {
  const { out, clock } = context
  let isShown = false
  let shown: readonly string[] = []
  while (!signal.aborted) {
    await clock.sleep(out.isTty ? STATUS_MS.tty : STATUS_MS.other, signal)
    if (signal.aborted) break
    const lines = lake.pipelines.map((pipeline) => statusLine(pipeline.status(), clock.nowMs()))
    // A line that wraps could not be rewritten.
    const line = [...lines.join(' │ ')].slice(0, out.columns - 1).join('')
    if (out.isTty) out.write(`\r\u001B[2K${line}`)
    else for (const [index, each] of lines.entries()) if (each !== shown[index]) out.write(`${each}\n`)
    shown = lines
    isShown = true
  }
  if (out.isTty && isShown) out.write('\n')
}

/** Lines above the one that shows how the pipelines stand. */
export function narrator({ out }: CliContext): (line: string) => void {
  return (line) => out.write(out.isTty ? `\r\u001B[2K${line}\n` : `${line}\n`)
}

/** `shop running · version 14 · 40,812 records · lag 3 · fresh 1.1s · 48 rec/s`, and why when it does not run. */
export function statusLine(status: PipelineStatus, nowMs: number): string {
  const { name, state, reason, head, lastCommitMs, partitions } = status
  const positions = partitions.reduce((sum, partition) => sum + partition.position, 0n)
  const isLagKnown = partitions.length > 0 && partitions.every((partition) => partition.end !== undefined)
  const lag = partitions.reduce((sum, { position, end }) => sum + (end === undefined ? 0n : end - position), 0n)
  const rate = partitions.reduce((sum, partition) => sum + partition.ratePerSecond, 0)
  return [
    `${name} ${state}`,
    ...(reason === undefined
      ? []
      : [`${reason.code}: ${reason.message}${reason.fix === undefined ? '' : ` → ${reason.fix}`}`]),
    ...(head === undefined ? [] : [`version ${head.number}`]),
    `${grouped(positions)} records`,
    `lag ${isLagKnown ? grouped(lag) : '?'}`,
    // Where nothing is left to read, the age of the newest version says nothing of how old the tables are.
    ...(lastCommitMs === undefined || (isLagKnown && lag === 0n)
      ? []
      : [`fresh ${(Math.max(0, nowMs - lastCommitMs) / 1_000).toFixed(1)}s`]),
    `${grouped(BigInt(Math.round(rate)))} rec/s`,
  ].join(' · ')
}

/** One line for each change into a state that somebody should know of, with its reason and the next step. */
export function stateLine(event: LakeEvent): string | undefined {
  if ((event.kind !== 'state' && event.kind !== 'held') || event.reason === undefined) return undefined
  const { pipeline, reason } = event
  const state = event.kind === 'state' ? event.state : `${event.partition} waits at offset ${event.offset}`
  const next = reason.fix === undefined ? '' : `\n  next: ${reason.fix}`
  return redacted(`✗ ${pipeline} ${state}: ${reason.code}: ${reason.message}${next}\n`)
}

export function grouped(value: bigint): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}

async function within(work: Promise<void>, ms: number, context: CliContext): Promise<void> {
  const ended = new AbortController()
  try {
    await Promise.race([work, context.clock.sleep(ms, ended.signal)])
  } finally {
    ended.abort()
  }
}
