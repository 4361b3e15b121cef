// What a process and all its descendants use, from /proc (Linux): CPU time with that of children that ended, memory.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
const PAGE_BYTES = Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' }))

/** Process ids of a tree, the root first. */
export function treeOf(root) {
  const parents = new Map()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = statOf(Number(name))
    if (stat !== undefined) parents.set(Number(name), stat.parent)
  }
  const tree = [root]
  for (const pid of tree) for (const [child, parent] of parents) if (parent === pid) tree.push(child)
  return tree
}

/** User and system time of the processes, in seconds, with that of their children who ended and were waited for. */
export function cpuSeconds(pids) {
  return pids.reduce((sum, pid) => sum + (statOf(pid)?.ticks ?? 0), 0) / TICKS_PER_SECOND
}

/** The CPU time of each process, in seconds, added up by the name of its script. */
export function cpuSecondsByScript(pids) {
  const sums = {}
  for (const pid of pids) {
    const script = (read(`/proc/${pid}/cmdline`) ?? '').split('\0').find((part) => part.endsWith('.js')) ?? 'other'
    const name = script.slice(script.lastIndexOf('/') + 1)
    sums[name] = (sums[name] ?? 0) + (statOf(pid)?.ownTicks ?? 0) / TICKS_PER_SECOND
  }
  return sums
}

/** Resident memory of the processes added up: pages that several share count for each. */
export function residentBytes(pids) {
  return pids.reduce((sum, pid) => sum + (statOf(pid)?.pages ?? 0), 0) * PAGE_BYTES
}

/** Proportional memory: a page that n processes share counts 1/n for each. */
export function proportionalBytes(pids) {
  return pids.reduce((sum, pid) => {
    const text = read(`/proc/${pid}/smaps_rollup`)
    return sum + 1_024 * Number(/^Pss:\s+(\d+) kB$/m.exec(text ?? '')?.[1] ?? 0)
  }, 0)
}

/** Seconds that all cores of this machine have worked, for whomever. */
export function machineSeconds() {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'latin1')
    .split('\n')[0]
    .split(/\s+/)
    .slice(1)
  return [user, nice, system, irq, softirq].reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND
}

function statOf(pid) {
  const text = read(`/proc/${pid}/stat`)
  if (text === undefined) return undefined
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const ownTicks = Number(fields[11]) + Number(fields[12])
  const ticks = ownTicks + Number(fields[13]) + Number(fields[14])
  return { parent: Number(fields[1]), ownTicks, ticks, pages: Number(fields[21]) }
}

function read(file) {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return undefined
  }
}
