import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { mutatedBundle, type Mutation } from '../support/mutated-bundle.ts'
import type { Found } from '../support/window-seeds.ts'
import { windowPlants } from './window-plants.ts'

// A property that finds nothing may have lost its teeth: it must find bugs of the kinds that windows are known for.

const SEEDS = 16

/** Checks the property over a bundle with changed text, in a process that may be left in any state. */
async function firstFound(name: string, mutations: readonly Mutation[]): Promise<Found | null> {
  const bundle = await mutatedBundle(`windows-${name}`, mutations, { 'window-seeds': 'test/support/window-seeds.ts' })
  try {
    const file = path.join(bundle.folder, 'window-seeds.js')
    const { stdout } = await promisify(execFile)(process.execPath, [file, '1', String(SEEDS)], { timeout: 120_000 })
    return JSON.parse(stdout)
  } finally {
    bundle.remove()
  }
}

describe('windows with a planted bug', { timeout: 150_000 }, () => {
  test('without one, nothing is found', async () => {
    expect(await firstFound('sound', [])).toBeNull()
  })

  test.each(windowPlants)('$name is found', async ({ name, rule, mutations }) => {
    const found = await firstFound(name, mutations)
    expect(found, `${rule}: not found in ${SEEDS} seeds`).not.toBeNull()
    expect(found, rule).toMatchObject({ isViolation: true })
    console.log(`${name}: first seed ${found!.seed}`)
  })
})
