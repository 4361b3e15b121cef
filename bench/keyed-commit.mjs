// What a keyed table costs its committer, by the number of its keys; see keyed-commit.ts. One JSON line a figure.
import { parseArgs } from 'node:util'
import { figure, note, rounded } from './support/figures.mjs'
import { loadSource } from './support/load.mjs'

const { values } = parseArgs({
  options: {
    keys: { type: 'string', default: '1000000,10000000' },
    updates: { type: 'string', default: '2.5' },
    records: { type: 'string', default: '6000000' },
  },
})
const FLAT_MAX = 1.25

const { measure } = await loadSource("export { measure } from './bench/keyed-commit.ts'", 'keyed-commit')
const costs = []
for (const keys of values.keys.split(',').map(Number)) {
  const cost = await measure(keys, Number(values.updates), Number(values.records))
  note(`keyed-commit: ${keys / 1e6}M`, cost)
  costs.push(cost)
}
const [first] = costs
for (const cost of costs) {
  const size = `${cost.keys / 1e6}M`
  const peer = (value) => ({ name: `${first.keys / 1e6}M keys`, value: rounded(value) })
  figure(`keyed.commit.${size}`, cost.commitCpuMs, 'CPU-ms', `<= ${FLAT_MAX} times`, {
    peer: peer(first.commitCpuMs),
    pass: cost.commitCpuMs <= FLAT_MAX * first.commitCpuMs,
    detail: { wallMs: rounded(cost.commitMs), files: cost.files },
  })
  figure(`keyed.fold.${size}`, cost.foldMicros, 'CPU-µs/record', 'none', { peer: peer(first.foldMicros), pass: true })
  figure(`keyed.committer.${size}`, cost.cpuPerMillion, 'CPU-s/M', 'none', {
    peer: peer(first.cpuPerMillion),
    pass: true,
    detail: { rewritten: rounded(cost.rewrittenShare), dead: rounded(cost.deadShareMax) },
  })
}
