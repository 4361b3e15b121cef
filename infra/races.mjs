// `npm run races`: processes that take themselves for the writer of one pipeline (test/e2e/races-main.ts).
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
process.chdir(root)
const { status } = spawnSync(process.execPath, ['infra/setup.mjs', 'python'], { stdio: 'inherit' })
if (status !== 0) process.exit(1)
const outfile = path.join(root, 'dist/test/races-main.mjs')
await build({
  entryPoints: ['test/e2e/races-main.ts'],
  outfile,
  bundle: true,
  packages: 'external',
  external: ['*/infra/s3.mjs'],
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
})
await import(pathToFileURL(outfile).href)
