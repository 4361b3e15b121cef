import type { ChildProcess } from 'node:child_process'
import os from 'node:os'

/** Niceness, as the operating system has it; `idle`: what is left of the cores, and nothing where nothing is left. */
export type Priority = number | 'idle'

/**
 * For a shell, before the program in `"$@"`: Linux has a class of its own for it. Whoever is only nice keeps its core for
 * milliseconds when somebody else wakes up. Where that cannot be had, `lower` has done what can be.
 */
export const AS_IDLE = 'chrt -i 0 true 2>/dev/null && exec chrt -i 0 "$@"'

/** Lets other processes go before a child that was just started. Undefined leaves it as it is. */
export function lower({ pid }: ChildProcess, priority: Priority | undefined): void {
  if (pid === undefined || priority === undefined) return
  try {
    os.setPriority(pid, priority === 'idle' ? os.constants.priority.PRIORITY_LOW : priority)
  } catch {
    // It is gone, or the system does not let us: it works all the same.
  }
}
