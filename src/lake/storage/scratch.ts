import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'

// A scratch folder is named kappalake~<host>~<pid>~<start>~<random>: enough to tell whether its process still lives. Process ids
// are used again (in a container the service is always process 1), so the start time, in ticks since boot, goes along.

const mark = 'kappalake'

/** Scratch folders of other machines are kept this long: nothing here can tell whether their process lives. */
const foreignMsMax = 7 * 24 * 3_600_000

/**
 * Makes a scratch folder of this process below `parent`, readable by its user alone, and removes those of processes
 * that are dead. `parent` may be shared with strangers: what is not ours to remove stays.
 */
export async function openScratch(parent: string): Promise<string> {
  await mkdir(parent, { recursive: true })
  const own = `${mark}~${host()}~${process.pid}~${await startOf(process.pid)}~`
  const folder = await mkdtemp(path.join(parent, own))
  const nowMs = (await stat(folder)).mtimeMs // the file system's own clock, which also dates the other folders
  for (const name of await readdir(parent)) {
    const other = path.join(parent, name)
    if (await isStale(name, other, nowMs)) await rm(other, { recursive: true, force: true }).catch(() => undefined)
  }
  return folder
}

/**
 * Removes the scratch folder of this process. Work that was not waited for may still write there: what cannot be removed
 * is left to the next start, and is no reason for an end to fail.
 */
export async function removeScratch(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 3, retryDelay: 20 }).catch(() => undefined)
}

async function isStale(name: string, folder: string, nowMs: number): Promise<boolean> {
  const [marked, madeBy, pid, start] = name.split('~')
  if (marked !== mark || madeBy === undefined || pid === undefined || start === undefined) return false
  if (madeBy === host()) return (await startOf(Number(pid))) !== start
  const made = await stat(folder).catch(() => undefined)
  return made !== undefined && nowMs - made.mtimeMs > foreignMsMax
}

/** `dead`, or a text that is the same for as long as the same process lives. */
async function startOf(pid: number): Promise<string> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'dead'
  }
  // proc(5): field 22 is the start time; the name in parentheses, field 2, may hold blanks.
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  return text?.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? 'alive'
}

function host(): string {
  return os.hostname().replaceAll(/[^A-Za-z0-9.-]/g, '_')
}
