import { afterAll, describe, expect, test } from 'vitest'
import { faultOf, fuzz, replayLine, type Target } from './fuzz.ts'
import { allTargets } from './main.ts'
import { minimised } from './mutate.ts'

// The same with other seeds, for as long as one likes: npm run fuzz.

const SEED = Number(process.env['FUZZ_SEED'] ?? 1)
/** What reads records reads millions of them. */
const MANY = new Set(['json', 'debezium', 'keys', 'avro', 'protobuf', 'as-of'])
const SLOW = new Set(['definition', 'settings', 'avro-file'])
const [INPUTS_MANY, INPUTS, INPUTS_SLOW] = [100_000, 3_000, 500]

const targets = await allTargets()
afterAll(async () => {
  for (const target of targets) await target.close?.()
})

test.each(targets)('$name: every input is read, or refused as agreed', async (target) => {
  const { findings, inputs, seconds } = await fuzz(target, SEED, {
    inputs: MANY.has(target.name) ? INPUTS_MANY : SLOW.has(target.name) ? INPUTS_SLOW : INPUTS,
    seconds: 60,
  })
  expect(findings.map((finding) => `${finding.fault}\n${replayLine(finding)}`)).toEqual([])
  expect(inputs).toBeGreaterThan(0)
  console.log(
    JSON.stringify({ name: `fuzz.${target.name}`, value: inputs, unit: 'inputs', seconds: Number(seconds.toFixed(2)) }),
  )
})

describe('a reader with a fault', () => {
  const faulty: Target = {
    name: 'faulty',
    seeds: [Buffer.from('some text, and more of it')],
    words: [Buffer.from('BUG')],
    batch: 16,
    read: (inputs) => {
      for (const input of inputs) if (Buffer.from(input).includes('BUG')) throw new Error('planted')
    },
  }

  test('is found, and its input made small', async () => {
    const { findings } = await fuzz(faulty, SEED, { inputs: 10_000, seconds: 10 })
    expect(findings.length).toBeGreaterThan(0)
    expect(Buffer.from(findings[0]!.input).toString()).toBe('BUG')
    expect(replayLine(findings[0]!)).toBe('FUZZ_TARGET=faulty FUZZ_INPUT=QlVH npm run fuzz')
    expect(await faultOf(faulty, [findings[0]!.input])).toBe('Error: planted')
  })

  test('minimising keeps the fault', async () => {
    const small = await minimised(Buffer.from(`${'x'.repeat(200)}BUG${'y'.repeat(300)}`), (bytes) =>
      Promise.resolve(Buffer.from(bytes).includes('BUG')),
    )
    expect(Buffer.from(small).toString()).toBe('BUG')
  })
})
