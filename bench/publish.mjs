// Runs publish.ts, which Node 20 cannot by itself: one JSON line a figure, exit code 0 when all of them hold.
import { build } from 'esbuild'
import { fileURLToPath } from 'node:url'

const outfile = fileURLToPath(new URL('../.cache/bench/publish.mjs', import.meta.url))
await build({
  entryPoints: [fileURLToPath(new URL('publish.ts', import.meta.url))],
  outfile,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
})
await import(outfile)
