import { planOf } from './plan.ts'
import { report } from './report.ts'
import { runSeed, type SeedResult } from './run-seed.ts'

/** Runs seeds [from, until) and hands each result on; stops early when the receiver has seen enough. */
export async function runSeeds(
  from: number,
  until: number,
  step: number,
  onResult: (result: SeedResult) => boolean | void,
): Promise<void> {
  for (let seed = from; seed < until; seed += step) if (onResult(await runSeed(seed)) === true) return
}

export { planOf, report, runSeed, type SeedResult }
