import { AssertionError } from 'node:assert'
import fc from 'fast-check'
import { cases, checkCase } from './window-cases.ts'
import { Lakes } from './window-lake.ts'

/** Of the first seed that does not hold. A run that fails of itself is no violation: a plant may be no code at all. */
export interface Found {
  readonly seed: number
  readonly isViolation: boolean
  readonly message: string
}

// A process: `node window-seeds.js <from> <until>` checks one case for each seed, and says what it found, or null.

const [from, until] = process.argv.slice(2).map(Number) as [number, number]
const lakes = await Lakes.open()
let found: Found | undefined
for (let seed = from; seed <= until && found === undefined; seed++) {
  const [each] = fc.sample(cases, { seed, numRuns: 1, unbiased: true })
  found = await checkCase(lakes, each!).then(
    () => undefined,
    (error) => ({ seed, isViolation: error instanceof AssertionError, message: String(error.message) }),
  )
}
lakes.close()
// What a planted bug leaves open would keep the process.
process.stdout.write(`${JSON.stringify(found ?? null)}\n`, () => process.exit())
