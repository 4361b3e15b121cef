import { describe, expect, it } from 'vitest'
import { planOf } from './plan.ts'
import { runSeed } from './run-seed.ts'

// `npm run sim`, a part of `npm test`, runs thousands.
const SEEDS = 8

describe('simulation', () => {
  it(`${SEEDS} seeds hold all invariants`, { timeout: 120_000 }, async () => {
    for (let seed = 1; seed <= SEEDS; seed++)
      expect((await runSeed(seed)).violations, `SEED=${seed} npm run sim`).toEqual([])
  })

  it('a seed is the same run every time', async () => {
    const [one, two] = [await runSeed(4), await runSeed(4)]
    expect(two).toEqual(one)
  })

  it('plans differ in what goes wrong: some nothing, some everything, most about half', () => {
    const shares = Array.from({ length: 400 }, (_, seed) => {
      const rates = Object.values(planOf(seed).rates)
      return rates.filter((rate) => rate > 0).length / rates.length
    })
    expect(shares.filter((share) => share === 0).length).toBeGreaterThan(8)
    expect(shares.filter((share) => share > 0.9).length).toBeGreaterThan(8)
    expect(shares.filter((share) => share > 0.3 && share < 0.7).length).toBeGreaterThan(300)
  })
})
