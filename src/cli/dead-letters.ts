import { InvalidArgumentError, Option, type Command } from 'commander'
import { LakeError } from '../error.ts'
import { DEFAULT_URL, openClient, tokenOption } from './client.ts'
import type { CliContext } from './context.ts'
import { askForJob, type JobOptions } from './operate.ts'
import { formatRows, type OutputFormat, type Row } from './output.ts'
import { outputOption } from './read.ts'

const SCREEN = ['table', 'record', 'status', 'attempts', 'code', 'message']

/** A dead letter as the API tells of it. */
interface Letter extends Row {
  readonly table: string
  readonly topic: string
  readonly partition: number
  readonly offset: string
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly { readonly key: string; readonly value: string | null }[]
}

interface Filter {
  readonly table?: string
  readonly code?: string
  readonly stage?: string
  readonly partition?: number
  readonly from?: string
  readonly until?: string
}

interface ListOptions extends Filter {
  readonly url: string
  readonly token?: string
  readonly output: OutputFormat
  readonly status: string
  readonly limit: number
}

/** `dlq`: what could not be read, and what is to become of it. */
export function addDeadLetterCommands(program: Command, context: CliContext): void {
  const dlq = program.command('dlq').description('dead letters: list, show, retry, discard')
  const command = (usage: string, description: string): Command =>
    dlq
      .command(usage)
      .description(description)
      .addOption(
        new Option('--url <url>', 'address of the running kappalake').env('KAPPALAKE_URL').default(DEFAULT_URL),
      )
      .addOption(tokenOption())
      .addOption(outputOption())
  const filtered = (usage: string, description: string): Command =>
    command(usage, description)
      .option('--table <table>', 'of this source table alone')
      .option('--code <code>', 'with this code, such as decode.type')
      .option('--stage <stage>', 'decode or transform')
      .option('--partition <number>', 'of this Kafka partition', whole)
      .option('--from <offset>', 'from this offset on')
      .option('--until <offset>', 'up to the offset before this one')

  filtered('list <pipeline>', 'dead letters in the order of tables, partitions and offsets')
    .addOption(
      new Option('--status <status>', 'what became of them')
        .choices(['pending', 'resolved', 'discarded', 'all'])
        .default('pending'),
    )
    .option('--limit <count>', 'how many', whole, 100)
    .action(async (pipeline: string, options: ListOptions) => {
      const client = openClient(options.url, context.fetch, context.signal, options.token)
      const isScreen = options.output === 'table'
      const query = queryOf(options, options.status, isScreen)
      const letters = await client.list<Letter>(pathOf(pipeline, query), options.limit)
      const rows = letters.map((letter) => ({ ...letter, record: recordOf(letter) }))
      context.out.write(formatRows(isScreen ? SCREEN : COLUMNS, rows, options.output, context.out))
    })

  command('show <pipeline> <record>', 'one record, topic/partition@offset, with its bytes').action(
    async (pipeline: string, record: string, options: ListOptions) => {
      const [, topic, partition, offset] = /^(.+)\/(\d+)@(\d+)$/.exec(record) ?? []
      if (topic === undefined)
        throw new LakeError('request.invalid', `${JSON.stringify(record)} is no record`, {
          fix: 'Name it as "kappalake dlq list" does: topic/partition@offset.',
        })
      const client = openClient(options.url, context.fetch, context.signal, options.token)
      const range = { partition: Number(partition), from: offset!, until: String(BigInt(offset!) + 1n) }
      const letters = await client.list<Letter>(pathOf(pipeline, queryOf(range, 'all', false)), 1_000)
      const found = letters.filter((letter) => letter.topic === topic)
      if (found.length === 0)
        throw new LakeError('request.invalid', `${record} is no dead letter of ${pipeline}`, {
          fix: 'List them with "kappalake dlq list".',
        })
      context.out.write(
        options.output === 'table' ? found.map(shown).join('\n') : formatRows(COLUMNS, found, options.output),
      )
    },
  )

  for (const kind of ['retry', 'discard'] as const)
    filtered(
      `${kind} <pipeline>`,
      kind === 'retry'
        ? 'read the records of pending dead letters again, each at its place in the log'
        : 'discard pending dead letters: they stay, and nobody reads them again',
    )
      .option('--limit <count>', 'of so many, the first ones', whole)
      .option('--dry-run', 'count what would become of them, and change nothing')
      .option('--no-wait', 'end when the job is recorded, not when it is done')
      .action((pipeline: string, options: Filter & JobOptions & { limit?: number; dryRun?: boolean }) => {
        const { limit, dryRun } = options
        const body = {
          where: filterOf(options),
          ...(limit === undefined ? {} : { limit }),
          ...(dryRun === true ? { dryRun } : {}),
        }
        return askForJob(`/v1/dlq/${encodeURIComponent(pipeline)}/${kind}`, body, options, context)
      })
}

const COLUMNS = [
  'table',
  'topic',
  'partition',
  'offset',
  'timestamp',
  'clock',
  'stage',
  'code',
  'message',
  'codeHash',
  'status',
  'attempts',
  'key',
  'value',
  'headers',
]

const FILTERS = ['table', 'code', 'stage', 'partition', 'from', 'until'] as const

function filterOf(options: Filter): Filter {
  return Object.fromEntries(FILTERS.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])))
}

function queryOf(filter: Filter, status: string, hasNoBytes: boolean): URLSearchParams {
  const query = new URLSearchParams(
    Object.entries(filterOf(filter)).map(([name, value]): [string, string] => [name, String(value)]),
  )
  if (status !== 'all') query.set('status', status)
  if (hasNoBytes) query.set('bytes', 'none')
  return query
}

function pathOf(pipeline: string, query: URLSearchParams): string {
  const path = `/v1/dlq/${encodeURIComponent(pipeline)}`
  return query.size === 0 ? path : `${path}?${query}`
}

function recordOf({ topic, partition, offset }: Letter): string {
  return `${topic}/${partition}@${offset}`
}

/** For people: bytes that are text as text. */
function shown(letter: Letter): string {
  const { key, value, headers, ...rest } = letter
  const facts = COLUMNS.filter((name) => rest[name] !== undefined && rest[name] !== null)
  const lines = [
    ...facts.map((name) => `${name.padEnd(10)} ${String(rest[name])}`),
    `${'key'.padEnd(10)} ${bytesText(key)}`,
    ...headers.map((header) => `${'header'.padEnd(10)} ${header.key}: ${bytesText(header.value)}`),
    `${'value'.padEnd(10)} ${bytesText(value)}`,
  ]
  return `${lines.join('\n')}\n`
}

function bytesText(base64: string | null): string {
  if (base64 === null) return '(null)'
  const bytes = Buffer.from(base64, 'base64')
  const text = bytes.toString('utf8')
  // Control characters would move the cursor of whoever reads it.
  const isText = Buffer.from(text, 'utf8').equals(bytes) && !/[^\P{Cc}\n\t]/u.test(text)
  return isText ? text : `base64 ${base64}`
}

function whole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}
