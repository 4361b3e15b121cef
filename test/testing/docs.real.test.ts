import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'
import { afterAll, expect, test } from 'vitest'

// What docs/testing.md shows is run as it stands there.

const root = path.resolve(import.meta.dirname, '../..')
// Below the project, so that packages are found.
const folder = path.join(root, '.cache', `testing-docs-${process.pid}`)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const guide = readFileSync(path.join(root, 'docs/testing.md'), 'utf8')
const COUNTING = `
import { testLake } from 'kappalake/testing'
import lake from './counting.ts'
const lab = await testLake(lake, { seed: 7 })
for (let k = 0; k < 12; k++) await lab.produce('events', [{ id: String(k) }], { partition: k % 3 })
await lab.holds().catch((error) => console.log(error.message))
await lab.close()
`

async function program(entry: string): Promise<string> {
  const outfile = path.join(folder, entry.replace('.ts', '.mjs'))
  await build({
    entryPoints: [path.join(folder, entry)],
    outfile,
    bundle: true,
    alias: { kappalake: path.join(root, 'src/index.ts'), 'kappalake/testing': path.join(root, 'src/testing.ts') },
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'silent',
  })
  return outfile
}

test('the guide', { timeout: 120_000 }, async () => {
  const files = [...guide.matchAll(/^```ts\n\/\/ (\S+\.ts)\n([\s\S]*?)^```$/gm)]
  expect(files.map(([, name]) => name)).toEqual(['lake.ts', 'lake.test.ts', 'counting.ts'])
  mkdirSync(folder, { recursive: true })
  for (const [, name, text] of files) writeFileSync(path.join(folder, name!), text!)
  writeFileSync(path.join(folder, 'count.ts'), COUNTING)
  const run = (...args: string[]) => execFileSync(process.execPath, args, { encoding: 'utf8' })
  expect(run('--test', await program('lake.test.ts'))).toMatch(/# pass 1\n# fail 0/)
  const [, said] = /^```text\n([\s\S]*?)^```$/m.exec(guide)!
  expect(run(await program('count.ts'))).toBe(said)
})
