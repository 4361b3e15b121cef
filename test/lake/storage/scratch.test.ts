import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openScratch, removeScratch } from '../../../src/lake/storage/scratch.ts'

let parent: string
beforeEach(() => {
  parent = mkdtempSync(path.join(os.tmpdir(), 'kappalake-scratch-'))
})
afterEach(() => rmSync(parent, { recursive: true, force: true }))

test('a scratch folder is removed with what is in it', async () => {
  const folder = await openScratch(parent)
  await mkdir(path.join(folder, 'below'))
  await writeFile(path.join(folder, 'below', '1.part'), 'x')
  await removeScratch(folder)
  expect(existsSync(folder)).toBe(false)
  await removeScratch(folder)
})

test('what is still written while it is removed is no failure', async () => {
  for (let round = 0; round < 5; round++) {
    const folder = await openScratch(parent)
    let isEnded = false
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let k = 0; !isEnded; k++) {
        await mkdir(folder, { recursive: true }).catch(() => undefined)
        await writeFile(path.join(folder, `${writer}-${k}.part`), 'x').catch(() => undefined)
      }
    })
    await writeFile(path.join(folder, 'first.part'), 'x')
    await removeScratch(folder)
    isEnded = true
    await Promise.all(writers)
  }
})
