// `npm run e2e:p10`: history run again through the pipelines of a real broker. New code beside old code, with records
// coming all the time and both killed in every phase: the difference, the cut-over, the way back and again, against a
// recomputation from the producers' logs, and against a lake that never knew other code. Then the same code again, with
// batches of other sizes and other lanes, and from the archive after the topics lost their old records: equal, digest by
// digest. `--full` does disk and S3, with one lane and three.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { end, install, inWorld } from './frame.mjs'

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '4000' },
    rate: { type: 'string', default: '300' },
    partitions: { type: 'string', default: '3' },
    lanes: { type: 'string', default: '2' },
    store: { type: 'string', default: 'disk' },
    only: { type: 'string' },
    seed: { type: 'string', default: '1' },
    limit: { type: 'string', default: '420' },
    full: { type: 'boolean', default: false },
  },
})
install('kafka')
const { figure } = await import('./exact/world.mjs')
const { Traffic } = await import('./p10/traffic.mjs')
const { newCode } = await import('./p10/new-code.mjs')
const { sameCode, SETTINGS } = await import('./p10/same-code.mjs')

const number = (name) => Number(values[name])
const attempts = values.full
  ? ['disk', 's3'].flatMap((kind) => [1, 3].map((lanes) => ({ kind, lanes })))
  : [{ kind: values.store, lanes: number('lanes') }]
const settings = values.full ? SETTINGS.flatMap(({ records }) => [1, 3].map((lanes) => ({ lanes, records }))) : SETTINGS

let isOk = true
// A broker of its own for each attempt: topics begin at offset 0.
for (const { kind, lanes } of attempts)
  isOk =
    (await inWorld({ partitions: number('partitions'), s3: kind === 's3' }, (world) =>
      attempt(world, { kind, lanes, name: `${kind}-${lanes}` }).catch((error) => {
        for (const { name, log } of world.running) console.error(`--- ${name}\n${tailOf(log)}`)
        throw error
      }),
    )) && isOk
end(isOk)

async function attempt(world, options) {
  const startedMs = performance.now()
  const [records, perSecond, seed] = ['records', 'rate', 'seed'].map(number)
  const traffic = new Traffic(world, { records, perSecond, seed })
  await traffic.createTopics()
  let changed
  if (values.only !== 'same') changed = await newCode(world, traffic, options)
  else {
    await traffic.start()
    await traffic.stop()
  }
  let isSame = true
  if (values.only !== 'new') isSame = await sameCode(world, traffic, { ...options, settings, other: changed?.lake })
  await changed?.lake.signalTree('SIGTERM')
  const seconds = Math.round((performance.now() - startedMs) / 1_000)
  const isInTime = figure(`p10.${options.name}.took`, seconds, 's', `<= ${values.limit}`, seconds <= number('limit'))
  return [changed?.isOk ?? true, isSame, isInTime].every(Boolean)
}

function tailOf(file) {
  try {
    return readFileSync(file, 'utf8').slice(-3_000)
  } catch {
    return ''
  }
}
