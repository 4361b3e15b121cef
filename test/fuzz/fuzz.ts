import { performance } from 'node:perf_hooks'
import { Random } from '../simulation/random.ts'
import { minimised, mutated } from './mutate.ts'

/** Something that reads bytes from outside. */
export interface Target {
  readonly name: string
  /** Inputs that it reads, to begin with. */
  readonly seeds: readonly Uint8Array[]
  /** Pieces that mean something to it. */
  readonly words: readonly Uint8Array[]
  /** Inputs that are read at once, where that is how it reads. */
  readonly batch?: number
  /** Reads inputs: to refuse them in the way that is agreed upon is no fault. Throws what is one. */
  read(inputs: readonly Uint8Array[]): void | Promise<void>
  close?(): void | Promise<void>
}

export interface Finding {
  readonly target: string
  readonly seed: number
  /** The shortest input found that has the fault. */
  readonly input: Uint8Array
  readonly fault: string
}

export interface Report {
  readonly name: string
  readonly inputs: number
  readonly seconds: number
  readonly findings: readonly Finding[]
}

/** No input may take longer. */
const INPUT_MS_MAX = 1_000
const FINDINGS_MAX = 5

/** Reads mutations of the target's seeds until `inputs` were read, or the time is over. */
export async function fuzz(
  target: Target,
  seed: number,
  limits: { readonly inputs: number; readonly seconds: number },
): Promise<Report> {
  const random = new Random(seed, target.name)
  const { batch = 1 } = target
  const findings: Finding[] = []
  const began = performance.now()
  const seconds = (): number => (performance.now() - began) / 1_000
  let inputs = 0
  // What a target reads to begin with must be read without a fault too.
  for (const input of target.seeds) await check(target, [input], seed, findings)
  while (inputs < limits.inputs && seconds() < limits.seconds && findings.length < FINDINGS_MAX) {
    const size = Math.min(batch, limits.inputs - inputs)
    await check(
      target,
      Array.from({ length: size }, () => mutated(target.seeds, target.words, random)),
      seed,
      findings,
    )
    inputs += size
  }
  return { name: target.name, inputs, seconds: seconds(), findings }
}

async function check(target: Target, inputs: readonly Uint8Array[], seed: number, findings: Finding[]): Promise<void> {
  if ((await faultOf(target, inputs)) === undefined) return
  for (const input of inputs) {
    const fault = await faultOf(target, [input])
    if (fault === undefined) continue
    const kind = fault.slice(0, 24)
    const smallest = await minimised(input, async (less) => (await faultOf(target, [less]))?.slice(0, 24) === kind)
    findings.push({ target: target.name, seed, input: smallest, fault })
    return
  }
  findings.push({
    target: target.name,
    seed,
    input: Buffer.concat(inputs),
    fault: 'a fault of several inputs together',
  })
}

/** What is wrong with how the target reads these inputs; undefined: nothing. */
export async function faultOf(target: Target, inputs: readonly Uint8Array[]): Promise<string | undefined> {
  const began = performance.now()
  try {
    await target.read(inputs)
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  }
  const ms = performance.now() - began
  return ms > INPUT_MS_MAX * Math.max(1, inputs.length / 64) ? `it took ${Math.round(ms)} ms` : undefined
}

/** One line that runs a finding again. */
export function replayLine({ target, input }: Pick<Finding, 'target' | 'input'>): string {
  return `FUZZ_TARGET=${target} FUZZ_INPUT=${Buffer.from(input).toString('base64')} npm run fuzz`
}
