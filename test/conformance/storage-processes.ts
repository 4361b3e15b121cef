import { build } from 'esbuild'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import type { Storage, StoreSettings } from '../../src/lake/storage/storage.ts'
import type { StorageTask } from '../support/storage-child.ts'
import { keysOf } from './storage.ts'

/** Below dist/, so that the bundle finds the packages. */
const program = 'dist/test/storage-child.js'
const writers = 8
const creates = 50
const createBytes = 20_000
const loadBytes = 3_000_000

/** What a store promises to several processes, and when one of them is killed. */
export function storageProcesses(name: string, settings: () => StoreSettings): void {
  describe(`${name} between processes`, () => {
    beforeAll(async () => {
      await build({
        entryPoints: ['test/support/storage-child.ts'],
        outfile: program,
        bundle: true,
        packages: 'external',
        platform: 'node',
        format: 'esm',
        target: 'node20',
        logLevel: 'warning',
      })
    })

    it(`gives each of ${creates} keys that ${writers} processes create one winner, never torn`, async () => {
      const keys = Array.from({ length: creates }, (_, i) => `create/${String(i).padStart(3, '0')}`)
      const children = await Promise.all(
        Array.from({ length: writers }, (_, i) =>
          start({ settings: settings(), mode: 'create', writer: i + 1, keys, bodyBytes: createBytes }),
        ),
      )
      const storage = await openStorage(settings(), systemClock)
      const answers = children.map(async (child): Promise<string[]> => {
        const [message] = (await once(child, 'message')) as [{ outcomes: string[] }]
        return message.outcomes
      })
      for (const child of children) child.send('go')
      const over = new AbortController()
      const all = Promise.all(answers).finally(() => over.abort())
      while (!over.signal.aborted) for (const key of keys) expectWhole(await storage.get(key), createBytes)
      const outcomes = await all

      for (const [i, key] of keys.entries()) {
        const winners = outcomes.flatMap((of, writer) => (of[i] === 'created' ? [writer + 1] : []))
        expect(winners, key).toHaveLength(1)
        expect(outcomes.filter((of) => of[i] === 'exists')).toHaveLength(writers - 1)
        expect(expectWhole(await storage.get(key), createBytes)).toBe(winners[0])
      }
      await storage.close()
    }, 120_000)

    it('holds only whole objects after writers were killed in the middle of writing', async () => {
      for (let kills = 0; kills < 6; kills++) {
        const child = await start({ settings: settings(), mode: 'load', writer: 7, keys: [], bodyBytes: loadBytes })
        child.send('go')
        await sleep(60 + kills * 45)
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
      const storage = await openStorage(settings(), systemClock)
      let count = 0
      for (const key of await settled(storage)) {
        expect(expectWhole(await storage.get(key), loadBytes), key).toBe(7)
        count += 1
      }
      expect(count).toBeGreaterThan(5)
      await storage.close()
    }, 120_000)
  })
}

/** A request that had left before its sender died may still land. */
async function settled(storage: Storage): Promise<string[]> {
  for (let before = -1; ; await sleep(200)) {
    const keys = await keysOf(storage, 'load/')
    if (keys.length === before) return keys
    before = keys.length
  }
}

async function start(task: StorageTask): Promise<ChildProcess> {
  const env = { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' }
  const child = fork(program, [JSON.stringify(task)], { env, execArgv: [] })
  await once(child, 'message')
  return child
}

/** The number of the writer whose bytes these are, all of them; undefined when nothing is there yet. */
function expectWhole(bytes: Uint8Array | undefined, length: number): number | undefined {
  if (bytes === undefined) return undefined
  expect(bytes.length).toBe(length)
  expect(Buffer.compare(bytes, new Uint8Array(length).fill(bytes[0] ?? 0))).toBe(0)
  return bytes[0]
}
