// The memory of a machine that has been at work for a while: hardly any of it is free, what nobody needs holds files.
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** So much is left to be given out without a look for pages that can be let go. */
const LEFT_BYTES = 300 << 20
/** More than that is not filled in a time that anybody would wait for. */
const FILLED_BYTES_MAX = 64 * 2 ** 30
const STEP_BYTES = 8 << 20

/**
 * Fills free memory with pages of a file without content, which are given up for whatever is needed. A virtual machine
 * may hand memory that is free back to its host: then the first touch of each page asks the host for it, which costs
 * some 7 microseconds (1.8 seconds of CPU a gigabyte) and is no cost of the program that happens to touch it. Linux; the
 * pages are gone with the file, so `folder` has to stay as long as what is measured.
 */
export function fillMemory(folder) {
  const free = 1_024 * Number(/^MemFree:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? 0)
  if (free < 2 * LEFT_BYTES || free > FILLED_BYTES_MAX) return
  const file = path.join(mkdtempSync(path.join(folder, 'memory-')), 'empty')
  writeFileSync(file, '')
  truncateSync(file, free - LEFT_BYTES)
  const [handle, bytes] = [openSync(file, 'r'), Buffer.alloc(STEP_BYTES)]
  while (readSync(handle, bytes) > 0);
  closeSync(handle)
}
