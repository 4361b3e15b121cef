// Bundles src/ into dist/: the command, the library and the child processes they start. Packages stay outside.
import { spawnSync } from 'node:child_process'
import { build } from 'esbuild'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'

/** What programs import. They share what both have: an error of one is an instance of the class of the other. */
const library = {
  client: 'src/client/client.ts',
  index: 'src/index.ts',
  testing: 'src/testing.ts',
}

/** What is started, each in one file. */
const entries = {
  main: 'src/main.ts',
  'lane-child': 'src/lane-child.ts',
  'fold-child': 'src/fold-child.ts',
  'query-child': 'src/query/child.ts',
}

export async function bundle(outdir = 'dist') {
  const there = (files) => Object.fromEntries(Object.entries(files).filter(([, file]) => existsSync(file)))
  const options = {
    outdir,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: true,
    logLevel: 'warning',
  }
  await build({ ...options, entryPoints: there(entries) })
  await build({ ...options, entryPoints: there(library), splitting: true })
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
