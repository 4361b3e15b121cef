// Mutated bytes into everything that reads bytes from outside: FUZZ_SECONDS=60 (for each target), FUZZ_SEED=n,
// FUZZ_TARGET=name (that one alone), and with FUZZ_INPUT=base64 one input again. See test/fuzz/.
import { build } from 'esbuild'
import { randomInt } from 'node:crypto'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const outfile = path.join(root, '.cache', 'fuzz', 'main.mjs')
await build({
  entryPoints: [path.join(root, 'test/fuzz/main.ts')],
  outfile,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: 'inline',
  logLevel: 'warning',
})
const { again, run } = await import(pathToFileURL(outfile).href)
const { FUZZ_SECONDS = '10', FUZZ_SEED, FUZZ_TARGET, FUZZ_INPUT } = process.env
let pass
if (FUZZ_INPUT !== undefined && FUZZ_TARGET !== undefined) {
  const fault = await again(FUZZ_TARGET, FUZZ_INPUT)
  console.log(fault ?? 'no fault')
  pass = fault === undefined
} else {
  const seed = FUZZ_SEED === undefined ? randomInt(2 ** 31) : Number(FUZZ_SEED)
  console.log(`FUZZ_SEED=${seed}`)
  pass = await run(seed, { inputs: Infinity, seconds: Number(FUZZ_SECONDS) }, FUZZ_TARGET, (line) => console.log(line))
}
console.log(pass ? 'PASS' : 'FAIL')
process.exitCode = pass ? 0 : 1
