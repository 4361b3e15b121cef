// How fast a pipeline commits, and how far it is behind what is in the log.
import { pipelineOf } from '../p10/lake.mjs'
import { sleep } from '../exact/world.mjs'

const SAMPLE_EVERY_MS = 100

export async function committed(lake, pipeline) {
  const { partitions } = await pipelineOf(lake, pipeline)
  return partitions.reduce((sum, { position }) => sum + Number(position), 0)
}

/** Of some seconds: committed records a second, and how many were not committed yet, again and again. */
export async function watch(lake, traffic, pipeline, seconds) {
  const [from, startedMs] = [await committed(lake, pipeline), performance.now()]
  const lags = []
  let at = from
  while (performance.now() - startedMs < seconds * 1_000) {
    await sleep(SAMPLE_EVERY_MS)
    // An answer is of some moment between the question and its arrival, which strangers may make longer.
    const before = traffic.produced(pipeline)
    at = await committed(lake, pipeline)
    lags.push((before + traffic.produced(pipeline)) / 2 - at)
  }
  const elapsedS = (performance.now() - startedMs) / 1_000
  return { perSecond: (at - from) / elapsedS, lags }
}

export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}
