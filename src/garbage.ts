import { setFlagsFromString } from 'node:v8'

/** So many percent more than what was alive a collection leaves to be filled: what V8 allows itself at most. */
const GROWTH_PERCENT = 300

/**
 * For a process of its own, at its start: its heap is small and hardly grows, while buffers outside of it come and go.
 * V8 counts those too and takes the quiet heap for one that is to be kept small, so it would mark all of it for every
 * few megabytes of them: an eighth of what a lane does, and most of what a commit of a large keyed table takes.
 */
export function collectLate(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`)
}
