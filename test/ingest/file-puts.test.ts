import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { FilePuts } from '../../src/ingest/decode/file-puts.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-puts-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('files are in the store when all is done, few are on their way at once, and a failure leaves none behind', async () => {
  const file = fc.record({ delayMs: fc.nat(3), fails: fc.boolean() }, { noNullPrototype: true })
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(file, { maxLength: 12 }), fc.boolean(), async (files, mayFail) => {
      const storage = new MemoryStorage('puts')
      const [inside, most] = [{ now: 0 }, { seen: 0 }]
      const run = runs++
      const slow = {
        scratch: folder,
        putFile: async (key: string, from: string): Promise<void> => {
          most.seen = Math.max(most.seen, ++inside.now)
          const { delayMs, fails } = files[Number(key)]!
          await new Promise((done) => setTimeout(done, delayMs))
          inside.now--
          if (mayFail && fails) throw new Error(`no room for ${key}`)
          await storage.putFile(key, from)
        },
      }
      const puts = new FilePuts(slow as unknown as MemoryStorage)
      const paths = files.map((_, k) => path.join(folder, `${run}-${k}`))
      const putAll = async (): Promise<void> => {
        for (const [k, from] of paths.entries()) {
          writeFileSync(from, String(k))
          try {
            await puts.putFile(String(k), from)
          } catch (error) {
            rmSync(from) // whoever made it
            throw error
          }
        }
        await puts.done()
      }
      const error = await putAll().then(
        () => undefined,
        (failure: Error) => failure,
      )
      await puts.ended()
      expect([inside.now, most.seen <= 3]).toEqual([0, true])
      expect(error !== undefined).toBe(mayFail && files.some(({ fails }) => fails))
      expect(error?.message ?? 'no room for').toContain('no room for')
      if (error === undefined)
        for (const k of files.keys()) expect(Buffer.from((await storage.get(String(k)))!).toString()).toBe(String(k))
      expect(paths.filter((each) => existsSync(each))).toEqual([])
    }),
    { numRuns: 60 },
  )
})
