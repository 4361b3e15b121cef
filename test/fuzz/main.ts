import { faultOf, fuzz, replayLine, type Report, type Target } from './fuzz.ts'
import { recordTargets } from './records.ts'
import { storeTargets } from './store-files.ts'
import { textTargets } from './texts.ts'

/** All that reads bytes from outside, by name. */
export async function allTargets(): Promise<readonly Target[]> {
  return [...recordTargets(), ...(await storeTargets()), ...textTargets()]
}

/** One finding again: the fault, undefined when there is none. */
export async function again(name: string, base64: string): Promise<string | undefined> {
  const target = (await allTargets()).find((candidate) => candidate.name === name)
  if (target === undefined) throw new Error(`there is no target ${name}`)
  return faultOf(target, [Buffer.from(base64, 'base64')])
}

/** Reads mutations for each target; prints a line for each, and one for each finding. Whether there was none. */
export async function run(
  seed: number,
  limits: { readonly inputs: number; readonly seconds: number },
  only: string | undefined,
  print: (line: string) => void,
): Promise<boolean> {
  const reports: Report[] = []
  for (const target of await allTargets()) {
    if (only !== undefined && target.name !== only) continue
    const report = await fuzz(target, seed, limits)
    reports.push(report)
    const { name, inputs, seconds, findings } = report
    const rate = Math.round(inputs / Math.max(seconds, 0.001))
    print(
      JSON.stringify({
        name: `fuzz.${name}`,
        value: findings.length,
        unit: 'findings',
        target: '0',
        inputs,
        seconds: Number(seconds.toFixed(2)),
        rate,
        seed,
        pass: findings.length === 0,
      }),
    )
    for (const finding of findings) {
      print(`    ${finding.fault.split('\n')[0]}`)
      print(`    ${replayLine(finding)}`)
    }
    await target.close?.()
  }
  return reports.every(({ findings }) => findings.length === 0)
}
