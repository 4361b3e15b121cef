import type { ChildProcess } from 'node:child_process'
import os from 'node:os'

/** Lets other processes go before a child that does what nobody waits for. Undefined leaves it as it is. */
export function lower({ pid }: ChildProcess, priority: number | undefined): void {
  if (pid === undefined || priority === undefined) return
  try {
    os.setPriority(pid, priority)
  } catch {
    // It is gone, or the system does not let us: it works all the same.
  }
}
