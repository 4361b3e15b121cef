import { readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import type { Clock } from '../clock.ts'

/** What files were like, by path: whatever tells one state of a file from another. */
export type Stamps = ReadonlyMap<string, string>

/** Files are looked at this often. Asking works on every file system, in containers too, and misses no rename. */
const LOOK_EVERY_MS = 100
/** Editors and version control write a file, or many, in several steps. */
const QUIET_MS = 200

/** Of a file, of a folder (which definitions are in it), or of nothing. */
export function stampOf(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false })
  if (found === undefined) return 'none'
  if (!found.isDirectory()) return `${found.mtimeMs} ${found.size} ${found.ino}`
  return readdirSync(file)
    .filter((name) => !name.startsWith('.') && DEFINES.test(name))
    .toSorted()
    .join('/')
}

const DEFINES = /\.(?:[cm]?[jt]s|ya?ml|json)$/

/**
 * The files that are not what they were, as soon as there are some and all have been quiet for a moment; none when
 * `signal` aborts. What was changed and changed back is no change.
 */
export async function untilChanged(
  seen: Stamps,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
  stamp: (file: string) => string = stampOf,
): Promise<readonly string[]> {
  const look = () => [...seen.keys()].map((file) => [file, stamp(file)] as const)
  let last = ''
  let sinceMs = 0
  while (!signal.aborted) {
    await clock.sleep(LOOK_EVERY_MS, signal)
    if (signal.aborted) break
    const now = look()
    const text = JSON.stringify(now)
    if (text !== last) sinceMs = clock.monotonicMs()
    last = text
    const changed = now.filter(([file, found]) => found !== seen.get(file)).map(([file]) => file)
    if (changed.length > 0 && clock.monotonicMs() - sinceMs >= QUIET_MS) return changed
  }
  return []
}

/** The files that a definition was read from, each as it was when that began. */
export class ReadStamps {
  readonly #stamps = new Map<string, string>()
  readonly #stamp: (file: string) => string

  constructor(stamp: (file: string) => string = stampOf) {
    this.#stamp = stamp
  }

  get stamps(): Stamps {
    return this.#stamps
  }

  /** Before a file is read. Packages change by installing them, and that asks for a new start. */
  readonly note = (file: string): void => {
    if (file.split(path.sep).includes('node_modules') || this.#stamps.has(file)) return
    this.#stamps.set(file, this.#stamp(file))
  }

  /** Of a definition that could not be read: what it lacks may be in files that it has not come to, or in new ones. */
  addAround(before: Stamps): void {
    for (const [file, stamp] of before) if (!this.#stamps.has(file)) this.#stamps.set(file, stamp)
    const folders = [...this.#stamps.keys()].map((file) => path.dirname(file))
    for (const folder of folders) this.note(folder)
  }
}
