// Mutated bytes into everything that reads bytes from outside: FUZZ_SECONDS=60 (for each target), FUZZ_SEED=n,
// FUZZ_TARGET=name (that one alone), and with FUZZ_INPUT=base64 one input again. See test/fuzz/.
import { randomInt } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import { bundleProgram } from './bundle.mjs'

const outfile = await bundleProgram('test/fuzz/main.ts', '.cache/fuzz/main.mjs')
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
