import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { systemClock } from '../../src/clock.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import type { StoreSettings } from '../../src/lake/storage/storage.ts'

/** A process that writes to a store: what storage-processes.ts starts, several at a time, and kills. */
export interface StorageTask {
  readonly settings: StoreSettings
  /** create: one create of each key, told to the parent. load: writes without end, in all three ways. */
  readonly mode: 'create' | 'load'
  readonly writer: number
  readonly keys: readonly string[]
  readonly bodyBytes: number
}

/** A body that says by itself whether it is whole: its writer's number in every byte. */
export const bodyOf = (writer: number, length: number): Uint8Array => new Uint8Array(length).fill(writer)

const task = JSON.parse(process.argv[2] ?? '{}') as StorageTask
const storage = await openStorage(task.settings, systemClock)
const body = bodyOf(task.writer, task.bodyBytes)

process.once('message', () => void work())
process.send?.({ ready: true })

async function work(): Promise<void> {
  if (task.mode === 'load') await load()
  const outcomes: string[] = []
  for (const key of task.keys) {
    let outcome = await storage.putIfAbsent(key, body)
    while (outcome.kind === 'conflict') outcome = await storage.putIfAbsent(key, body)
    outcomes.push(outcome.kind)
  }
  await storage.close()
  process.send?.({ outcomes }, () => process.disconnect())
}

async function load(): Promise<never> {
  const run = randomBytes(6).toString('hex')
  for (let i = 0; ; i++) {
    const file = path.join(storage.scratch, `${i}.bin`)
    await writeFile(file, body)
    await Promise.all([
      storage.put(`load/${run}/put-${i}`, body),
      storage.putIfAbsent(`load/${run}/create-${i}`, body),
      storage.putFile(`load/${run}/file-${i}`, file),
    ])
  }
}
