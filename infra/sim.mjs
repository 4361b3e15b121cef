// Seeded simulation of the production code: SEED=n, SEEDS=a..b, STORY=replay (only seeds of that story), PLANT=name,
// PLANT=a,b or PLANT=all. See test/simulation/.
import { build } from 'esbuild'
import { readFileSync } from 'node:fs'
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { bundleProgram } from './bundle.mjs'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const DEFAULT_SEEDS = [1, 2000]
const PLANT_SEEDS_MAX = 1000

/** Bundles the simulation, with one planted bug when `plant` is given; returns the path of the bundle. */
export function bundleSimulation(plant) {
  const plugins = plant === undefined ? [] : [planting(plant)]
  return bundleProgram('test/simulation/main.ts', `.cache/sim/${plant?.name ?? 'sound'}.mjs`, plugins)
}

/**
 * Changes the text of production files, and of what stands in for DuckDB, while they are bundled, and fails when a text to
 * change is not there.
 */
function planting({ name, edits }) {
  const left = new Set(edits)
  return {
    name: 'plant',
    setup(build) {
      build.onLoad({ filter: /\/(src|test\/simulation)\/.*\.ts$/ }, ({ path: file }) => {
        const mine = edits.filter((edit) => file.endsWith(edit.file))
        if (mine.length === 0) return undefined
        let contents = readFileSync(file, 'utf8')
        for (const edit of mine) {
          if (contents.split(edit.find).length !== 2)
            throw new Error(`plant ${name}: ${edit.file} does not have once what is to be changed:\n${edit.find}`)
          contents = contents.replace(edit.find, () => edit.replace)
          left.delete(edit)
        }
        return { contents, loader: 'ts' }
      })
      build.onEnd(() => {
        if (left.size > 0) throw new Error(`plant ${name}: ${[...left][0].file} is not part of the simulation`)
      })
    },
  }
}

/** Seeds [from, until] in as many processes as there are cores; the results come in the order of the seeds. */
async function runAll(bundle, from, until, onResult = () => false) {
  const workers = Math.min(availableParallelism(), until - from + 1)
  const results = []
  let isEnough = false
  await Promise.all(
    Array.from(
      { length: workers },
      (_, index) =>
        new Promise((resolve, reject) => {
          const child = fork(fileURLToPath(import.meta.url), {
            env: {
              ...process.env,
              KL_SIM_WORKER: JSON.stringify({ bundle, from: from + index, until, step: workers }),
            },
          })
          child.on('message', (result) => {
            results.push(result)
            if (onResult(result) === true) isEnough = true
            if (isEnough) child.kill('SIGKILL')
          })
          child.on('exit', (code) =>
            code === 0 || isEnough ? resolve() : reject(new Error(`a worker ended with ${code}`)),
          )
        }),
    ),
  )
  return results.sort((a, b) => a.seed - b.seed)
}

async function work({ bundle, from, until, step }) {
  const { planOf, runSeed } = await import(pathToFileURL(bundle).href)
  const { STORY } = process.env
  for (let seed = from; seed <= until; seed += step)
    if (STORY === undefined || planOf(seed).story === STORY) process.send(await runSeed(seed))
  process.disconnect()
}

async function runOne(bundle, seed) {
  const { runSeed } = await import(pathToFileURL(bundle).href)
  const result = await runSeed(seed, (line) => console.log(line))
  console.log(JSON.stringify(result, undefined, 1))
  return result.violations.length === 0
}

async function runRange(bundle, [from, until]) {
  const startMs = performance.now()
  const results = await runAll(bundle, from, until)
  const { runSeed, report } = await import(pathToFileURL(bundle).href)
  let isDeterministic = true
  for (const { seed, hash } of results.slice(0, 3)) if ((await runSeed(seed)).hash !== hash) isDeterministic = false
  const { lines, pass } = report(results, (performance.now() - startMs) / 1000, isDeterministic)
  for (const line of lines) console.log(line)
  return pass
}

/** Each planted bug must be found within so many seeds. */
async function runPlants(plants, seedsMax) {
  let pass = true
  for (const plant of plants) {
    const bundle = await bundleSimulation(plant)
    let found
    const results = await runAll(bundle, 1, seedsMax, (result) => {
      if (result.violations.length > 0) found ??= result
      return found !== undefined
    })
    if (found === undefined) pass = false
    const value = found?.seed ?? results.length
    console.log(
      JSON.stringify({
        name: `plant.${plant.name}`,
        value,
        unit: 'first seed',
        target: `<= ${seedsMax}`,
        ratio: value / seedsMax,
        peer: plant.bug,
        pass: found !== undefined,
      }),
    )
    console.log(`    ${found?.violations[0] ?? 'not found'}`)
  }
  return pass
}

function rangeOf(text) {
  const match = /^(\d+)\.\.(\d+)$/.exec(text ?? '')
  return match === null ? DEFAULT_SEEDS : [Number(match[1]), Number(match[2])]
}

async function main() {
  const { SEED, SEEDS, PLANT } = process.env
  const { plants } = await loadPlants()
  if (PLANT === 'all') return runPlants(plants, PLANT_SEEDS_MAX)
  if (PLANT?.includes(',')) {
    const names = PLANT.split(',').filter((name) => name !== '')
    return runPlants(
      names.map((name) => plants.find((plant) => plant.name === name) ?? unknownPlant(name, plants)),
      PLANT_SEEDS_MAX,
    )
  }
  const plant = PLANT === undefined ? undefined : plants.find(({ name }) => name === PLANT)
  if (PLANT !== undefined && plant === undefined) unknownPlant(PLANT, plants)
  const bundle = await bundleSimulation(plant)
  return SEED === undefined ? runRange(bundle, rangeOf(SEEDS)) : runOne(bundle, Number(SEED))
}

function unknownPlant(name, plants) {
  throw new Error(`no plant ${name}; there are ${plants.map((plant) => plant.name).join(', ')}`)
}

async function loadPlants() {
  const outfile = path.join(root, '.cache', 'sim', 'plants.mjs')
  await build({
    entryPoints: [path.join(root, 'test/simulation/plants.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    logLevel: 'warning',
  })
  return import(pathToFileURL(outfile).href)
}

if (process.env.KL_SIM_WORKER !== undefined) await work(JSON.parse(process.env.KL_SIM_WORKER))
else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const pass = await main()
  console.log(pass ? 'PASS' : 'FAIL')
  process.exitCode = pass ? 0 : 1
}
