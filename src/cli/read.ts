import { InvalidArgumentError, Option, type Command } from 'commander'
import { openClient, tokenOption, DEFAULT_URL, type Client } from './client.ts'
import type { CliContext } from './context.ts'
import { changeText, positionsText } from './read-texts.ts'
import { formatRows, OUTPUT_FORMATS, type OutputFormat, type Row } from './output.ts'
import { readWindows, WINDOW_STATES } from './read-windows.ts'

/** Commands that ask a running kappalake over HTTP. */
export function addReadCommands(program: Command, context: CliContext): void {
  const command = (usage: string, description: string): Command =>
    program
      .command(usage)
      .description(description)
      .addOption(
        new Option('--url <url>', 'address of the running kappalake').env('KAPPALAKE_URL').default(DEFAULT_URL),
      )
      .addOption(tokenOption())
      .addOption(outputOption())

  /** Runs `work` with a client and prints its rows under these columns. */
  const printing =
    (work: (client: Client, ...given: any[]) => Promise<Table>) =>
    async (...given: any[]): Promise<void> => {
      const self = given.at(-1) as Command
      const { url, token, output } = self.opts<{ url: string; token?: string; output: OutputFormat }>()
      const client = openClient(url, context.fetch, context.signal, token)
      const { forPeople, ...whole } = await work(client, ...given)
      const { columns, rows } = output === 'table' ? (forPeople ?? whole) : whole
      context.out.write(formatRows(columns, rows, output, context.out))
    }

  command('query <sql>', 'run one SELECT over the tables')
    .option('--as-of <when>', 'version, snapshot, time or topic/partition@offset')
    .addOption(new Option('--param <value...>', 'values of the parameters ?'))
    .action(async (sql: string, options: QueryOptions) => {
      const { url, token, output, param, asOf } = options
      const client = openClient(url, context.fetch, context.signal, token)
      const asked = { sql, ...(param === undefined ? {} : { params: param }), ...(asOf === undefined ? {} : { asOf }) }
      // These two are written as they come, whatever their length; the others are one answer of the server.
      if (output === 'csv' || output === 'ndjson')
        return client.stream('/v1/query', { ...asked, format: output }, (text) => context.out.write(text))
      const { columns, rows } = await client.post<{ columns: { name: string }[]; rows: Row[] }>('/v1/query', {
        ...asked,
        format: 'json',
      })
      const names = columns.map((column) => column.name)
      context.out.write(formatRows(names, rows, output, context.out))
    })
  command('tables', 'list the tables').action(
    printing(async (client) => {
      const items = await client.list<Row>('/v1/tables', 10_000)
      return { columns: ['name', 'pipeline', 'rows', 'files', 'bytes', 'version', 'time'], rows: items }
    }),
  )
  command('snapshots <table>', "list a table's snapshots, newest first")
    .addOption(limitOption())
    .action(
      printing(async (client, table: string, { limit }: { limit: number }) => {
        const columns = ['id', 'time', 'operation', 'addedRecords', 'totalRecords', 'version', 'ranges']
        const rows = await client.list<Row>(`/v1/tables/${encodeURIComponent(table)}/snapshots`, limit)
        return { columns, rows, forPeople: { columns: columns.filter((name) => name !== 'ranges'), rows } }
      }),
    )
  command('diff <table> <from> [to]', 'rows that were added, removed or changed between two versions')
    .addOption(limitOption())
    .action(
      printing(async (client, table: string, from: string, to: string | undefined, { limit }: { limit: number }) => {
        const { counts, key, items } = await diff(client, table, from, to, limit)
        context.err.write(`${counts}\n`)
        const rows = items.map((item) => ({
          ...Object.fromEntries(key.map((name) => [name, (item.after ?? item.before)![name]])),
          ...item,
        }))
        return {
          columns: ['change', ...key, 'before', 'after'],
          rows,
          forPeople: {
            columns: ['change', ...key, 'row'],
            rows: rows.map((row) => ({ ...row, row: changeText(row, key) })),
          },
        }
      }),
    )
  command('windows <table>', 'windows of a window table, newest first, and what its watermark waits for')
    .addOption(new Option('--state <state>', 'only these').choices(WINDOW_STATES))
    .addOption(limitOption())
    .action(
      printing(async (client, table: string, options: { state?: string; limit: number }) => {
        const { columns, rows, notes } = await readWindows(client, table, options)
        for (const note of notes) context.err.write(`${note}\n`)
        return { columns, rows }
      }),
    )
  command('versions <pipeline>', "list a pipeline's versions, newest first")
    .addOption(limitOption())
    .action(
      printing(async (client, pipeline: string, { limit }: { limit: number }) => {
        const rows = await client.list<VersionRow>(`/v1/pipelines/${encodeURIComponent(pipeline)}/versions`, limit)
        return {
          columns: ['number', 'kind', 'time', 'writer', 'commitId', 'positions'],
          rows,
          forPeople: versionsText(rows),
        }
      }),
    )
  command('pipelines', 'list the pipelines, their state and lag').action(
    printing(async (client) => {
      const items = await client.list<PipelineRow>('/v1/pipelines', 10_000)
      return pipelinesText(items)
    }),
  )
  for (const [verb, description] of [
    ['pause', 'stop ingesting, until resumed; a restart honours it'],
    ['resume', 'go on after a pause'],
    ['flush', 'commit all that the log holds now'],
    ['restart', 'try again what waits for a person, when its reason is gone'],
  ] as const)
    command(`${verb} <pipeline>`, description).action(
      printing(async (client, pipeline: string) => {
        const answer = await client.post<Row>(`/v1/pipelines/${encodeURIComponent(pipeline)}/${verb}`, {})
        // Programs get the whole answer; a line of a terminal holds what the lists show of it.
        const forPeople = 'state' in answer ? pipelinesText([answer]) : versionsText([answer])
        return { columns: Object.keys(answer), rows: [answer], forPeople }
      }),
    )
}

interface QueryOptions {
  readonly url: string
  readonly token?: string
  readonly output: OutputFormat
  readonly asOf?: string
  readonly param?: string[]
}

interface DiffPage {
  readonly from: string
  readonly to: string
  readonly key: readonly string[]
  readonly added: string
  readonly removed: string
  readonly changed: string
  readonly items: readonly { readonly change: string; readonly before: Row | null; readonly after: Row | null }[]
  readonly nextCursor: string | null
}

/** The first `limit` changes, and how many there are in all. */
async function diff(client: Client, table: string, from: string, to: string | undefined, limit: number) {
  const items: DiffPage['items'][number][] = []
  let page: DiffPage | undefined
  do {
    const query = new URLSearchParams({ limit: String(Math.max(1, Math.min(1_000, limit - items.length))) })
    if (page?.nextCursor) query.set('cursor', page.nextCursor)
    else for (const [name, value] of Object.entries({ from, to })) if (value !== undefined) query.set(name, value)
    page = await client.get<DiffPage>(`/v1/tables/${encodeURIComponent(table)}/diff?${query}`)
    items.push(...page.items)
  } while (page.nextCursor !== null && items.length < limit)
  const counts = `${page.from} → ${page.to}: ${page.added} added, ${page.removed} removed, ${page.changed} changed`
  return { counts, key: page.key, items: items.slice(0, limit) }
}

interface Columns {
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
}

interface Table extends Columns {
  /** What of it stands in a table; default: all. */
  readonly forPeople?: Columns
}

interface VersionRow extends Row {
  readonly positions?: Readonly<Record<string, string>>
}

interface PipelineRow extends Row {
  readonly lag?: { readonly records?: string }
  readonly reason?: { readonly code?: string; readonly message?: string } | string | null
}

/** Pipelines as a person asks for them, each in one line of a terminal. */
function pipelinesText(pipelines: readonly PipelineRow[]): Columns {
  const rows = pipelines.map(({ lag, reason, ...rest }) => ({
    ...rest,
    lag: lag?.records,
    reason: typeof reason === 'object' && reason !== null ? `${reason.code}: ${reason.message}` : reason,
  }))
  return { columns: ['name', 'state', 'version', 'lag', 'lastCommit', 'writer', 'reason'], rows }
}

function versionsText(versions: readonly VersionRow[]): Columns {
  const rows = versions.map((row) => ({ ...row, positions: positionsText(row.positions) }))
  return { columns: ['number', 'kind', 'time', 'writer', 'positions'], rows }
}

export function outputOption(): Option {
  return new Option('-o, --output <format>', 'how to print').choices(OUTPUT_FORMATS).default('table')
}

function limitOption(): Option {
  return new Option('--limit <n>', 'at most so many').argParser(wholeNumber).default(50)
}

export function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('Write a whole number.')
}
