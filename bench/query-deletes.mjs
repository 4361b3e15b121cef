// Queries of a table with deleted rows against a clean copy; see query-deletes.ts. One JSON line a figure.
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { bundle } from '../infra/build.mjs'

// Node 20 runs no TypeScript: the measured code is bundled next to the packages that it imports.
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const file = path.join(root, 'dist/bench/query-deletes.mjs')
const { outputFiles } = await build({
  entryPoints: [path.join(root, 'bench/query-deletes.ts')],
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  write: false,
})
await mkdir(path.dirname(file), { recursive: true })
await writeFile(file, outputFiles[0].contents)
const { measure } = await import(pathToFileURL(file).href)

await bundle(path.join(root, 'dist'))
const figures = await measure(path.join(root, 'dist/query-child.js'))
for (const figure of figures) console.log(JSON.stringify(figure))
process.exitCode = figures.every(({ pass }) => pass) ? 0 : 1
