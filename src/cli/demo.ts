import path from 'node:path'
import os from 'node:os'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { anyOf } from '../abort.ts'
import { invalidField } from '../define-fields.ts'
import { LakeError } from '../error.ts'
import { SHOP_TOPICS } from '../ingest/shop-log.ts'
import { MAINTENANCE, type Settings, type ShopSettings, type SourceSettings, type StoreSettings } from '../settings.ts'
import { EXIT, paint, type CliContext, type Looks } from './context.ts'
import { wrapped } from './layout.ts'
import { changedDefinition, demoDefinition } from './demo-lake.ts'
import { ShopProducer } from './demo-producer.ts'
import { keepShop } from './demo-state.ts'
import { runTour, STEPS, type TourStep } from './demo-tour.ts'
import { judge, type Verdict } from './demo-verdict.ts'
import { wholeNumber } from './read.ts'
import { addressOf, narrator, runLake, showStatus, untilEnd, type OpenLake } from './serve.ts'

export interface DemoOptions {
  readonly seed?: number
  readonly rate?: number
  readonly data: string
  readonly port: number
  readonly brokers?: string
  readonly s3?: string
  readonly endpoint?: string
  readonly ci?: boolean
  readonly tour?: boolean
  readonly duration?: number
  readonly lanes?: number
}

/** `demo`: a shop's events, from a log in this process (or a real Kafka) to tables on disk (or a real S3). */
export function addDemoCommand(
  program: Command,
  context: CliContext,
  openLake: OpenLake,
  exit: (code: number) => void,
) {
  program
    .command('demo')
    .description('a shop to look around in; needs neither Kafka nor S3')
    .addOption(new Option('--seed <n>', 'which shop [42]').argParser(wholeNumber))
    .addOption(new Option('--rate <n>', 'events a second of each topic [50]').argParser(positive))
    .addOption(new Option('--data <folder>', 'where the demo lives').default('./.kappalake-demo'))
    .addOption(new Option('--port <n>', 'of the HTTP API').argParser(wholeNumber).default(7780))
    .option('--brokers <host:port,…>', 'produce the events to this Kafka and ingest from there')
    .option('--s3 <url>', 'keep the lake in s3://bucket/prefix')
    .option('--endpoint <url>', 'of the S3 store, when it is not AWS')
    .addOption(new Option('--lanes <n>', 'lane processes [one per core]').argParser(positive))
    .option('--ci', 'run some seconds, compare the tables with the ledger, exit 0 only if they are equal')
    .option('--tour', 'change an aggregate, replay, look at the difference, cut over, roll back [with --ci]')
    .option('--no-tour', 'without it')
    .addOption(new Option('--duration <seconds>', 'end after so many seconds [with --ci: 15]').argParser(positive))
    .action(async (options: DemoOptions) => {
      const isEqual = await runDemo(context, openLake, options)
      if (!isEqual) exit(EXIT.failed)
    })
}

const CI_SECONDS = 15
/** For what is left in the log when production has stopped. */
const CATCH_UP_MS_MAX = 120_000

/** What the demo has by then is enough to see something change. */
const TOUR_AFTER_MS = 8_000
const TOUR_MS_MAX = 180_000

/** False when `--ci` found a difference. */
export async function runDemo(context: CliContext, openLake: OpenLake, options: DemoOptions): Promise<boolean> {
  const { clock, out } = context
  const folder = path.resolve(context.folder, options.data)
  const kept = await keepShop(folder, options, clock)
  const seconds = options.duration ?? (options.ci === true ? CI_SECONDS : undefined)
  const untilMs = seconds === undefined ? undefined : clock.nowMs() + seconds * 1_000
  const shop: ShopSettings = untilMs === undefined ? kept : { ...kept, untilMs }
  const settings = demoSettings(options, folder, shop, context.env)
  const producer =
    settings.source.kind === 'kafka' ? await ShopProducer.open(settings.source.kafka, shop, clock) : undefined
  try {
    return await runLake(context, openLake, demoDefinition, settings, async (lake, signal) => {
      if (options.ci !== true) out.write(banner(options, folder, settings, shop, out))
      const ended = new AbortController()
      const over = anyOf(signal, ended.signal)
      const openChanged = () => openLake(changedDefinition, besides(settings, folder), { signal, clock })
      const tour = (isStill: boolean, say: (line: string) => void) =>
        runTour({
          lake,
          openChanged,
          say,
          clock,
          signal: isStill ? anyOf(signal, AbortSignal.timeout(TOUR_MS_MAX)) : over,
          isStill,
        })
      const producing = producer?.run(over)
      const showing = options.ci === true ? undefined : showStatus(context, lake, over)
      const touring =
        options.ci === true || options.tour !== true
          ? undefined
          : clock.sleep(TOUR_AFTER_MS, over).then(() => (over.aborted ? [] : tour(false, narrator(context))))
      const waiting =
        untilMs === undefined ? untilEnd(signal) : clock.sleep(Math.max(0, untilMs - clock.nowMs()), signal)
      // A producer or a tour that fails ends the demo at once; they end by themselves only after `over`.
      await Promise.race([waiting, producing ?? waiting, touring?.then(() => waiting) ?? waiting])
      ended.abort()
      // What the end of the demo interrupts is no failure of the tour.
      await Promise.all([producing, showing, touring?.catch(() => undefined)])
      if (options.ci !== true) return true
      if (signal.aborted) return false
      const say = (line: string) => context.err.write(`${line}\n`)
      const verdict = await conclude(
        () => judge(lake, shop, anyOf(signal, AbortSignal.timeout(CATCH_UP_MS_MAX))),
        options.tour === false ? undefined : () => tour(true, say),
      )
      out.write(`${JSON.stringify({ ...verdict, source: settings.source.kind, store: settings.store.url })}\n`)
      return verdict.ok
    })
  } finally {
    await producer?.close()
  }
}

/** What the tables hold, what became of the tour, and that the tables of the shop are the same after it. */
async function conclude(
  judged: () => Promise<Verdict>,
  tour: (() => Promise<readonly TourStep[]>) | undefined,
): Promise<Verdict & { readonly tour?: readonly TourStep[] }> {
  const verdict = await judged()
  if (!verdict.ok || tour === undefined) return verdict
  const steps = await tour()
  const isWhole = steps.length === STEPS.length && steps.every((step) => step.ok)
  const after = isWhole ? await judged() : verdict
  return { ...after, ok: isWhole && after.ok, tour: steps }
}

/** Where the demo's lake is and how it runs: as any lake, with defaults for everything. */
export function demoSettings(
  options: DemoOptions,
  folder: string,
  shop: ShopSettings,
  env: Readonly<Record<string, string | undefined>>,
): Settings {
  const source: SourceSettings =
    options.brokers === undefined
      ? { kind: 'shop', shop }
      : { kind: 'kafka', kafka: { brokers: options.brokers.split(',').map((broker) => broker.trim()) } }
  return {
    // One name for every start of the demo: after a kill it goes on at once, without waiting as a standby.
    writer: `demo-${os.hostname()}`,
    source,
    store: demoStore(options, folder, env),
    commit: {
      minIntervalMs: options.s3 === undefined ? 500 : 2_000,
      microBatch: { bytesMax: 32 * 2 ** 20, recordsMax: 500_000, ageMsMax: 500 },
      heartbeatMs: 60_000,
    },
    lanes: options.lanes ?? os.availableParallelism(),
    takeoverAfterMs: 90_000,
    maintenance: MAINTENANCE,
    http: { host: '127.0.0.1', port: options.port },
    query: {
      children: 2,
      queueMax: 16,
      rowsMax: 100_000,
      bytesMax: 64 * 2 ** 20,
      timeoutMs: 30_000,
      memoryBytesMax: 800e6,
      cacheDir: path.join(folder, 'cache'),
      cacheBytesMax: 2 ** 30,
    },
    log: { level: 'warn' },
  }
}

function demoStore(
  { s3, endpoint }: DemoOptions,
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): StoreSettings {
  if (s3 === undefined) {
    if (endpoint !== undefined)
      throw new LakeError('config.invalid', '--endpoint stands without --s3', { fix: 'Add --s3 s3://bucket/prefix.' })
    return { url: `file://${path.join(folder, 'lake')}` }
  }
  if (!/^s3:\/\/[^/]+/.test(s3))
    throw invalidField(['--s3'], `"${s3}" is not an address of S3`, 'Write s3://bucket/prefix.')
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: region } = env
  return {
    url: s3.replace(/\/+$/, ''),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(accessKeyId === undefined || secretAccessKey === undefined ? {} : { accessKeyId, secretAccessKey }),
  }
}

/** What runs, and what to do with it in another terminal. */
function banner(options: DemoOptions, folder: string, settings: Settings, shop: ShopSettings, looks: Looks): string {
  const { tables, windows } = demoDefinition.pipelines[0]!
  const topics = Object.entries(SHOP_TOPICS).map(([topic, { partitions }]) => `${topic}(${partitions})`)
  const log =
    settings.source.kind === 'kafka'
      ? `Kafka at ${settings.source.kafka.brokers.join(', ')}`
      : 'in-process demo log, not Kafka (--brokers for yours)'
  const mark = paint('✓', 'green', looks.hasColor)
  const url = addressOf(settings.http)
  const ask = (path: string) => `  curl -s ${url.replace('http://', '')}/v1/${path}`
  const told = [
    `${mark} log      ${log} · ${topics.join(' ')}`,
    `${mark} store    ${settings.store.url}`,
    `${mark} tables   ${tables.map(({ name }) => name).join(' ')}; of each its dead letters: ${tables[0]!.name}__dlq`,
    `${mark} windows  ${windows.map(({ name, source }) => `${name} over ${source}`).join(' · ')}`,
    `→ API      ${url}`,
  ]
  const again = path.relative(process.cwd(), folder) || '.'
  return [
    `kappalake demo · seed ${shop.seed} · data in ${options.data}`,
    ...told.map((line) => wrapped(line, looks, HANG)),
    '',
    'look around, in another terminal:',
    ask('tables'),
    ask('pipelines'),
    ask(`query -d 'select status, count(*) n from orders group by 1'`),
    ask(`query -d 'select _offset, code, message from orders__dlq limit 3'`),
    ...(options.tour === true
      ? []
      : ['or change the window, replay, compare, cut over and roll back: the same command with --tour']),
    `kill -9 this process and start it again: it goes on exactly. Start anew: rm -r ${again}`,
    '',
    '',
  ].join('\n')
}

/** Where on its line the banner says what there is. */
const HANG = 11

/** A second process would have them of its own: few lanes, and files that it may throw away. */
function besides(settings: Settings, folder: string): Settings {
  return {
    ...settings,
    lanes: 1,
    query: { ...settings.query, children: 1, cacheDir: path.join(folder, 'cache-tour') },
  }
}

function positive(text: string): number {
  const value = wholeNumber(text)
  if (value < 1) throw new InvalidArgumentError('Write a whole number above 0.')
  return value
}
