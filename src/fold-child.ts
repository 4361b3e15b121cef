import { systemClock } from './clock.ts'
import { toErrorMessage } from './error.ts'
import { performFold, type FoldSettings, type FromFold, type ToFold } from './ingest/window/fold-messages.ts'
import { openWindowFold } from './ingest/window/fold.ts'
import type { WindowFold } from './ingest/window/window.ts'
import { openStorage } from './lake/storage/open.ts'

// The process that holds the open windows of one pipeline: a cache, which may be killed at any moment.

// Before anything is waited for: a parent that dies meanwhile must not leave a fold behind that lives for ever.
process.on('disconnect', die)
if (!process.connected) die()

const settings = JSON.parse(process.env['KAPPALAKE_FOLD']!) as FoldSettings
const storage = await openStorage(settings.store, systemClock)
let fold: WindowFold | undefined

async function answer(message: ToFold): Promise<FromFold> {
  try {
    if (message.kind === 'call') return { kind: 'done', result: await performFold(fold!, message.call) }
    const { windows, tables } = message
    const memoryMaxBytes = settings.memoryBytesMax
    fold = await openWindowFold({ windows, tables, storage, clock: systemClock, memoryMaxBytes })
    return { kind: 'done', result: undefined }
  } catch (error) {
    return { kind: 'failed', error: toErrorMessage(error) }
  }
}

/** With DuckDB loaded, only the operating system ends a process for sure. */
function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

process.on('message', (message: ToFold) => void answer(message).then((reply) => process.send?.(reply)))
process.on('uncaughtException', (error) => {
  process.stderr.write(`${error.stack ?? error}\n`, die)
})
// A terminal sends its signals to the whole group: the parent decides when a fold ends.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => undefined)
