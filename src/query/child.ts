import { writeFileSync } from 'node:fs'
import { toErrorMessage } from '../error.ts'
import { failureOf } from './failure.ts'
import { assertSizes } from './file-sizes.ts'
import { CHUNKS_AHEAD, type FromProcess, type ProcessSettings, type ToProcess, type View } from './messages.ts'
import { columnsOf, pieces } from './pieces.ts'
import { Sandbox } from './sandbox.ts'

// The query process: it holds no credentials and no state, runs one query at a time, each in a DuckDB of its own, and may
// be killed at any moment. Whoever started it starts another.

type Run = Extract<ToProcess, { kind: 'run' }>

const settings = JSON.parse(process.env['KAPPALAKE_QUERY']!) as ProcessSettings

/** Opened before it is needed: that takes longer than most queries. */
let prepared = openSandbox()
let answers: ToProcess[] = []
/** Of the query that runs. */
let views: readonly View[] = []
const state = { credits: 0 }
let wake: () => void = () => undefined

function openSandbox(): Promise<Sandbox> {
  const opening = Sandbox.open(settings)
  opening.catch(() => undefined) // whoever awaits it learns of the failure
  return opening
}

async function serve(run: Run): Promise<void> {
  answers = []
  views = []
  state.credits = CHUNKS_AHEAD
  const cpu = process.cpuUsage()
  const cpuMs = (): number => {
    const { user, system } = process.cpuUsage(cpu)
    return (user + system) / 1_000
  }
  let sandbox: Sandbox | undefined
  try {
    sandbox = await prepared
    if (await execute(sandbox, run)) await send({ kind: 'done', cpuMs: cpuMs() })
  } catch (error) {
    const { error: said, isTainted } = failureOf(error, views)
    await send({ kind: 'error', error: toErrorMessage(said), isTainted, cpuMs: cpuMs() })
    // A statement that still runs would hold `close` for ever; the engine ends this process.
    if (isTainted) return
  }
  sandbox?.close()
  prepared = openSandbox()
}

/** Resolves with false when the engine took the query back. */
async function execute(sandbox: Sandbox, run: Run): Promise<boolean> {
  await send({ kind: 'tables', uses: await sandbox.tables(run.sql, run.params, run.where) })
  const answer = await nextAnswer()
  if (answer.kind !== 'views') return false
  views = answer.views
  assertSizes(views)
  const execution = await sandbox.execute(answer.views, run.sql, run.params)
  const columns = columnsOf(execution.result)
  await send({ kind: 'columns', columns })
  for await (const chunk of pieces(execution, columns, run.format, run)) {
    await credit()
    await send(chunk)
  }
  return true
}

async function credit(): Promise<void> {
  while (state.credits <= 0) await woken()
  state.credits--
}

async function nextAnswer(): Promise<ToProcess> {
  while (answers.length === 0) await woken()
  return answers.shift()!
}

function woken(): Promise<void> {
  return new Promise((resolve) => (wake = resolve))
}

function send(message: FromProcess): Promise<void> {
  return new Promise((resolve) => process.send?.(message, () => resolve()))
}

/** With DuckDB loaded, only the operating system ends a process for sure. */
function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

let serving: Promise<void> = Promise.resolve()

process.on('message', (message: ToProcess) => {
  if (message.kind === 'run') {
    serving = serving.then(() => serve(message))
    return
  }
  if (message.kind === 'more') state.credits++
  else answers.push(message)
  wake()
})
process.on('disconnect', die)
process.on('uncaughtException', die)
process.on('unhandledRejection', die)
// A terminal sends its signals to the whole group: the engine decides when a query process ends.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => undefined)

/** When memory runs out, the system ends a query rather than the service; systems other than Linux decide for themselves. */
function goFirst(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '1000')
  } catch {
    // there is no such file
  }
}

goFirst()
await prepared
await send({ kind: 'ready' })
