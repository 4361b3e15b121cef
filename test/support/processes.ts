import { readdirSync, readFileSync } from 'node:fs'
import { systemClock } from '../../src/clock.ts'

export interface ProcessInfo {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

/** Living processes, as Linux tells them; those that only wait for their parent to take note do not count. */
export function processes(): ProcessInfo[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'latin1')
        const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        const command = readFileSync(`/proc/${name}/cmdline`, 'latin1').replaceAll('\0', ' ')
        return state === 'Z' ? [] : [{ pid: Number(name), parent: Number(parent), command }]
      } catch {
        return []
      }
    })
}

/** The environment that a living process was started with; empty once it is gone. */
export function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1')
  } catch {
    return ''
  }
}

/** Lane, query and fold processes that `parent` has started. */
export function childrenOf(parent: number): ProcessInfo[] {
  return processes().filter((each) => each.parent === parent && /(?:lane|query|fold)-child/.test(each.command))
}

/** Waits until `holds` gives something; throws after `limitMs`. */
export async function until<T>(
  what: string,
  holds: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = 60_000,
): Promise<T> {
  const deadlineMs = performance.now() + limitMs
  for (;;) {
    const value = await holds()
    if (value !== undefined && value !== false) return value
    if (performance.now() > deadlineMs) throw new Error(`${what}: not within ${limitMs} ms`)
    await systemClock.sleep(20)
  }
}
