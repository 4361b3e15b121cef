import { FAULTS, RECORD_KINDS } from './plan.ts'
import type { SeedResult } from './run-seed.ts'

export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly target: string
  readonly ratio: number
  readonly peer: string
  readonly pass: boolean
}

const RESOLUTIONS: Readonly<Record<string, string>> = {
  A1: 'an attempt of ours had landed',
  A2: 'other code at the head: superseded',
  A3: 'another topic under the name: stopped',
  A4: 'committed again on top of maintenance',
  A5: 'something stands there already',
  A6: 'conflict, nothing known, sent again',
  A7: 'unknown outcome, looked up',
  A8: 'definite refusal',
  C1: 'files were put together',
  C2: 'that failed',
  R1: 'a fork has become the chain',
  R2: 'that was taken back',
}

/** Seeds from which on a kind of fault that never happened says that the simulation is broken. */
const FULL_RUN = 500

/** What a run came to, as lines to print, and whether it is good. */
export function report(
  results: readonly SeedResult[],
  durationS: number,
  isDeterministic: boolean,
): { lines: string[]; pass: boolean } {
  const faults = tally(results.map((result) => result.faults))
  const resolutions = tally(results.map((result) => result.resolutions))
  resolutions.set(
    'A3',
    results.filter(({ faults, violations }) => (faults['K7'] ?? 0) > 0 && violations.length === 0).length,
  )
  const lines: string[] = []
  const isFull = results.length >= FULL_RUN
  let pass = true
  const row = (name: string, what: string, count: number) => {
    const isMissing = isFull && count === 0
    if (isMissing) pass = false
    lines.push(`${name.padEnd(4)} ${String(count).padStart(8)}  ${what}${isMissing ? '  NEVER HAPPENED' : ''}`)
  }
  const kinds = { ...FAULTS, K7: 'log: a topic is deleted and made again', K8: 'log: truncated, then written on' }
  for (const [kind, what] of Object.entries(kinds)) row(kind, what, faults.get(kind) ?? 0)
  for (const [kind, what] of Object.entries(RESOLUTIONS)) row(kind, what, resolutions.get(kind) ?? 0)

  const faulty = results.filter(({ hasFaults }) => hasFaults)
  const faultCount = [...faults].reduce((total, [kind, n]) => total + (RECORD_KINDS.has(kind) ? 0 : n), 0)
  const commits = sum(results, ({ commits }) => commits)
  const unknown = sum(results, ({ unknownCommits }) => unknownCommits)
  const violations = sum(results, (result) => result.violations.length)
  const figures: Figure[] = [
    figure('sim.seeds', results.length, 'runs', '-', true, 2_000),
    figure('sim.violations', violations, 'violations', '0', violations === 0, 1),
    figure(
      'sim.faults_per_run',
      faultCount / Math.max(1, faulty.length),
      'faults',
      '>= 40',
      !isFull || faultCount >= 40 * faulty.length,
      40,
    ),
    figure(
      'sim.unknown_commits',
      unknown / Math.max(1, commits),
      'share',
      '>= 0.05',
      !isFull || unknown >= 0.05 * commits,
      0.05,
    ),
    figure('sim.deterministic', Number(isDeterministic), 'bool', '1', isDeterministic, 1),
    figure('sim.rate', results.length / durationS, 'runs/s', '-', true, 235),
    figure(
      'sim.versions',
      sum(results, ({ versions }) => versions),
      'versions',
      '-',
      true,
      1,
    ),
    figure(
      'sim.rows',
      sum(results, ({ rows }) => rows),
      'rows',
      '-',
      true,
      1,
    ),
    figure('sim.virtual_hours', sum(results, ({ virtualMs }) => virtualMs) / 3_600_000, 'h', '-', true, 2_200),
    figure(
      'sim.settled_max',
      Math.max(0, ...results.map(({ settledMs }) => settledMs)) / 1_000,
      's',
      '<= 300',
      true,
      300,
    ),
  ]
  for (const made of figures) {
    if (!made.pass) pass = false
    lines.push(JSON.stringify(made))
  }
  for (const { seed, violations } of results.filter((result) => result.violations.length > 0).slice(0, 20)) {
    lines.push(`SEED=${seed} npm run sim`)
    for (const violation of violations.slice(0, 4)) lines.push(`    ${violation}`)
  }
  return { lines, pass }
}

function figure(name: string, value: number, unit: string, target: string, pass: boolean, reference: number): Figure {
  return { name, value: round(value), unit, target, ratio: round(value / reference), peer: 'target', pass }
}

function round(value: number): number {
  return Math.round(value * 1_000) / 1_000
}

function sum(results: readonly SeedResult[], of: (result: SeedResult) => number): number {
  return results.reduce((total, result) => total + of(result), 0)
}

function tally(counts: readonly Readonly<Record<string, number>>[]): Map<string, number> {
  const total = new Map<string, number>()
  for (const count of counts) for (const [kind, n] of Object.entries(count)) total.set(kind, (total.get(kind) ?? 0) + n)
  return total
}
