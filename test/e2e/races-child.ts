import { systemClock } from '../../src/clock.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import type { StoreSettings } from '../../src/lake/storage/storage.ts'
import { race } from './races-writer.ts'

/** One of the processes that commit to one pipeline. */
export interface RaceTask {
  readonly settings: StoreSettings
  readonly writer: string
  readonly commits: number
  readonly compactEvery: number
  readonly pauseMsMax: number
}

const task = JSON.parse(process.argv[2]!) as RaceTask
const storage = await openStorage(task.settings, systemClock)
const done = await race(storage, task.writer, task, systemClock)
await storage.close()
process.send?.(done, () => process.disconnect())
