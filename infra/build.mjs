// Bundles src/ into dist/: the command, the library and the child processes they start. Packages stay outside.
import { spawnSync } from 'node:child_process'
import { build } from 'esbuild'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'

const entries = {
  main: 'src/main.ts',
  index: 'src/index.ts',
  'lane-child': 'src/lane-child.ts',
  'fold-child': 'src/fold-child.ts',
  'query-child': 'src/query/child.ts',
}

export async function bundle(outdir = 'dist') {
  await build({
    entryPoints: Object.fromEntries(Object.entries(entries).filter(([, file]) => existsSync(file))),
    outdir,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: true,
    logLevel: 'warning',
  })
}

/** Declarations for those who embed the library. */
function declare() {
  const { status } = spawnSync('npx', ['tsc', '-p', 'infra/tsconfig.types.json'], { stdio: ['ignore', 2, 2] })
  if (status !== 0) process.exit(1)
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  await rm('dist', { recursive: true, force: true })
  await bundle()
  declare()
}
