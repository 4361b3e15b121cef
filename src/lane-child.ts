import { systemClock } from './clock.ts'
import { toErrorMessage } from './error.ts'
import { collectLate } from './garbage.ts'
import { openEncoder } from './ingest/encoder.ts'
import { sentBatch, sentKeys, type SentKeys } from './ingest/key-files.ts'
import type { StoredKeys } from './ingest/keys.ts'
import { stage, type Encoder } from './ingest/lane.ts'
import type { FromLane, LaneSettings, Span, ToLane } from './ingest/lane-messages.ts'
import type { Archive } from './ingest/archive/archive.ts'
import { openArchiveLog } from './ingest/archive/stored-archive.ts'
import { openReplaySource } from './ingest/archive-source.ts'
import { openRegistry } from './ingest/registry.ts'
import { openTableWork } from './ingest/table-work.ts'
import { removePartials } from './ingest/window/partial-files.ts'
import { performLetters } from './ingest/letters/letter-messages.ts'
import { letterWork, type LetterWorkOptions } from './ingest/letters/letter-work.ts'
import { perform } from './ingest/work-messages.ts'
import { openStorage } from './lake/storage/open.ts'
import { partitionId, type Positions, type RecordBatch, type Source } from './log.ts'
import { bounded } from './replay/bounded.ts'

// The lane process: no state but its assignments. It may be killed at any moment; whoever started it starts another.

const ALIVE_EVERY_MS = 1_000
/** A job that is told to stop is at one batch at most. */
const STOP_MS_MAX = 120_000

type Assign = Extract<ToLane, { kind: 'assign' }>
type Work = Extract<ToLane, { kind: 'work' }>

collectLate()

// Before anything is waited for: a parent that dies meanwhile must not leave a lane behind that lives for ever.
process.on('disconnect', die)
if (!process.connected) die()

const settings = JSON.parse(process.env['KAPPALAKE_LANE']!) as LaneSettings
const storage = await openStorage(settings.store, systemClock)
const registry = settings.registry === undefined ? undefined : openRegistry(settings.registry, systemClock)
const jobs = new Map<string, Job>()

/** One assignment under way. */
class Job {
  readonly task: number
  readonly #stop = new AbortController()
  readonly #done: Promise<void>
  #credits = 0
  #wake: () => void = () => undefined

  constructor(assign: Assign, before: Job | undefined) {
    this.task = assign.task
    this.#done = (before?.stop() ?? Promise.resolve()).then(() => this.#run(assign))
  }

  credit(): void {
    this.#credits++
    this.#wake()
  }

  stop(): Promise<void> {
    this.#stop.abort()
    this.#wake()
    // Its assignment is forgotten, so nobody else sees that it hangs; and the next one of its pipeline waits for it.
    const timer = setTimeout(die, STOP_MS_MAX)
    return this.#done.finally(() => clearTimeout(timer))
  }

  async #run({ pipeline, task, tables, windows, archives, assignment }: Assign): Promise<void> {
    const { signal } = this.#stop
    if (signal.aborted) return
    const log = openLaneLog(archives)
    const source = assignment.until === undefined ? log : bounded(log, assignment.until)
    const { memoryBytesMax: memoryMaxBytes, partialsFolder, salts } = settings
    let encoder: Encoder | undefined
    try {
      const parts = { storage, clock: systemClock, registry, salts }
      encoder = await openEncoder({ tables, windows, ...parts, memoryMaxBytes, partialsFolder })
      const announced = announcing(encoder, pipeline, task)
      for await (const staged of stage(source, assignment, announced, systemClock, signal)) {
        if (signal.aborted) return await removePartials(staged)
        const sent = await sentBatch(staged, partialsFolder ?? storage.scratch, systemClock)
        if (signal.aborted) return await removePartials(sent)
        await send({ kind: 'staged', pipeline, task, staged: sent })
        this.#credits--
        while (this.#credits <= 0 && !signal.aborted) await new Promise<void>((resolve) => (this.#wake = resolve))
      }
      if (!signal.aborted) await send({ kind: 'ended', pipeline, task })
    } catch (error) {
      if (!signal.aborted) await send({ kind: 'failed', pipeline, task, error: toErrorMessage(error) })
    } finally {
      await encoder?.close().catch(() => undefined)
      await source.close().catch(() => undefined)
    }
  }
}

/** Says which records are about to be touched, so that a death can be laid at their door. */
function announcing(encoder: Encoder, pipeline: string, task: number): Encoder {
  return {
    async encode(plan, batches, fatal, baseless, clocksMs) {
      await send({ kind: 'encoding', pipeline, task, spans: spansOf(batches) })
      const staged = await encoder.encode(plan, batches, fatal, baseless, clocksMs)
      await send({ kind: 'encoded', pipeline, task })
      return staged
    },
    close: () => encoder.close(),
  }
}

/**
 * Work on files, beside the staging. What is kept for it is that of the last run that asked: a DuckDB more per lane, not
 * per pipeline.
 */
class Desk {
  #run = 0
  #job = 0
  #work: Awaited<ReturnType<typeof openTableWork>> | undefined

  async do({ job, run, tables, call }: Work): Promise<void> {
    this.#job = job
    try {
      const onStep = () => void send({ kind: 'working', job: this.#job })
      const result =
        call.method === 'letters'
          ? await performLetters(letterWork(this.#letterOptions(onStep)), call.plan, call.call)
          : await perform(await this.#tableWork(run, tables, onStep), call)
      await send({ kind: 'worked', job, result: call.method === 'readKeys' ? await sentStored(result) : result })
    } catch (error) {
      await send({ kind: 'work-failed', job, error: toErrorMessage(error) })
    }
  }

  async #tableWork(run: number, tables: Work['tables'], onStep: () => void) {
    if (this.#work !== undefined && run === this.#run) return this.#work
    await this.#work?.close()
    this.#work = undefined
    const memoryMaxBytes = settings.memoryBytesMax
    this.#work = await openTableWork({ tables, storage, clock: systemClock, memoryMaxBytes, onStep })
    this.#run = run
    return this.#work
  }

  #letterOptions(onStep: () => void): LetterWorkOptions {
    const { memoryBytesMax: memoryMaxBytes, partialsFolder, salts } = settings
    const openLog = (archives: readonly Archive[], until: Positions): Source => bounded(openLaneLog(archives), until)
    return { storage, clock: systemClock, memoryMaxBytes, partialsFolder, salts, registry, onStep, openLog }
  }
}

/** The columns that `readKeys` gave lie in a file from here on. */
function sentStored(result: unknown): Promise<SentKeys> {
  return sentKeys(result as StoredKeys, settings.partialsFolder ?? storage.scratch, systemClock)
}

/** The log that the settings name, and before it what archives keep of it. */
function openLaneLog(archives: readonly Archive[]): Source {
  const kept = archives.length === 0 ? undefined : openArchiveLog(archives, storage, systemClock)
  return openReplaySource(settings.source, archives, systemClock, kept)
}

function spansOf(batches: readonly RecordBatch[]): Span[] {
  const spans = new Map<string, Span>()
  for (const { topic, partition, offsets, count } of batches) {
    if (count === 0) continue
    const id = partitionId(topic, partition)
    const before = spans.get(id)
    spans.set(id, {
      partition: id,
      first: before?.first ?? offsets[0]!,
      last: offsets[count - 1]!,
      records: count + (before?.records ?? 0),
    })
  }
  return [...spans.values()]
}

function send(message: FromLane): Promise<void> {
  return new Promise((resolve) => process.send?.(message, () => resolve()))
}

/** With DuckDB loaded, only the operating system ends a process for sure. */
function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

const desk = new Desk()
process.on('message', (message: ToLane) => {
  if (message.kind === 'work') return void desk.do(message)
  const job = jobs.get(message.pipeline)
  switch (message.kind) {
    case 'assign':
      jobs.set(message.pipeline, new Job(message, job))
      break
    case 'credit':
      if (job?.task === message.task) job.credit()
      break
    case 'release':
      // It stays here until it has ended: the next job of its pipeline must not run beside it.
      void job?.stop().then(() => {
        if (jobs.get(message.pipeline) === job) jobs.delete(message.pipeline)
      })
  }
})
process.on('uncaughtException', (error) => {
  process.stderr.write(`${error.stack ?? error}\n`, die)
})
// A terminal sends its signals to the whole group: the parent decides when a lane ends.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => undefined)
setInterval(() => void send({ kind: 'alive' }), ALIVE_EVERY_MS)
