import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
// @ts-expect-error plain JavaScript: it runs before anything is built
import { bundleSimulation } from '../../infra/sim.mjs'
import { plants } from './plants.ts'
import type { runSeed } from './run-seed.ts'

it.each(['no-fence-on-rebase', 'state-in-another-commit', 'lateness-once-per-batch', 'retry-in-two-commits'])(
  'a planted bug is found: %s',
  { timeout: 60_000 },
  async (name) => {
    const plant = plants.find((each) => each.name === name)
    const bundle = (await import(pathToFileURL((await bundleSimulation(plant)) as string).href)) as {
      runSeed: typeof runSeed
    }
    let found: readonly string[] = []
    for (let seed = 1; seed <= 60 && found.length === 0; seed++) found = (await bundle.runSeed(seed)).violations
    expect(found).not.toEqual([])
  },
)
