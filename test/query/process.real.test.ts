import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LakeError } from '../../src/error.ts'
import { QueryProcess } from '../../src/query/query-process.ts'

// What the system holds when everything before it has failed: code of an attacker in a query process.

const MIB = 1024 * 1024

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-process-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** What the code sends back by `say`; throws what the death of its process looks like from outside. */
async function run(code: string, cpuSecondsMax = 20): Promise<unknown> {
  const childPath = path.join(folder, 'child.mjs')
  await writeFile(
    childPath,
    `import fs from 'node:fs'
    const say = (value) => process.send({ kind: 'columns', columns: value })
    ${code}
    process.on('disconnect', () => process.exit())`,
  )
  const process = new QueryProcess({ childPath, settings: { threads: 1, memoryBytesMax: 400 * MIB }, cpuSecondsMax })
  try {
    const message = await process.receive()
    return message.kind === 'columns' ? message.columns : message
  } finally {
    process.kill(new LakeError('sql.cancelled', 'it has said what it had to say'))
    await process.exited
  }
}

test('no byte can be written to a file', async () => {
  const file = path.join(folder, 'out')
  const code = `try { fs.writeFileSync(${JSON.stringify(file)}, 'x'); say('written') } catch ({ code }) { say(code) }`
  expect(await run(code)).toBe('EFBIG')
  expect(existsSync(file) ? await readFile(file, 'utf8') : '').toBe('')
}, 20_000)

test('nothing of our environment is there', async () => {
  process.env['KAPPALAKE_TEST_SECRET'] = 'secret'
  try {
    expect(JSON.stringify(await run('say(process.env)'))).not.toContain('secret')
  } finally {
    delete process.env['KAPPALAKE_TEST_SECRET']
  }
}, 20_000)

test('more memory than it may have ends it', async () => {
  const code = `const all = []; while (all.length < 16) all.push(Buffer.alloc(${64 * MIB}, 1)); say(all.length)`
  await expect(run(code)).rejects.toMatchObject({ code: 'sql.crashed' })
}, 20_000)

test('so does more processor time, whatever it listens to', async () => {
  await expect(
    run(
      `process.on('SIGTERM', () => 0); const endMs = performance.now() + 15_000; while (performance.now() < endMs); say('lived')`,
      1,
    ),
  ).rejects.toMatchObject({ code: 'sql.crashed' })
}, 20_000)
