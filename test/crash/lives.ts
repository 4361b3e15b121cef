import { spawn } from 'node:child_process'
import path from 'node:path'
import { systemClock } from '../../src/clock.ts'
import type { MutatedBundle } from '../support/mutated-bundle.ts'
import { environmentOf, processes } from '../support/processes.ts'
import type { CrashPlan } from './points.ts'

export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly output: string
}

/** Starts a process of a bundle, which may be killed where the plan says, and waits for its end. */
export function live(
  { folder }: MutatedBundle,
  env: Readonly<Record<string, string>>,
  plan?: CrashPlan,
): Promise<Ended> {
  const child = spawn(process.execPath, [path.join(folder, 'process.js')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      ...env,
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
      ...(plan === undefined ? {} : { CRASH: JSON.stringify(plan) }),
    },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes))
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`the lake did not end\n${output}`))
    }, 120_000)
    child.on('exit', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, output })
    })
  })
}

/** Processes of the bundle over a place that are still there some time after their parent. */
export async function leftOver({ folder }: MutatedBundle, place: string): Promise<string[]> {
  for (let attempt = 0; ; attempt++) {
    const found = processes().filter(
      ({ pid, command }) => command.includes(folder) && environmentOf(pid).includes(place),
    )
    if (found.length === 0 || attempt > 400) return found.map(({ command }) => command)
    await systemClock.sleep(50)
  }
}
