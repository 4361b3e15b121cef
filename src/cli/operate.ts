import { Option, type Command } from 'commander'
import { LakeError, type LakeErrorCode } from '../error.ts'
import { openClient, tokenOption, DEFAULT_URL, type Client } from './client.ts'
import type { CliContext } from './context.ts'
import { formatRows, type OutputFormat, type Row } from './output.ts'
import { outputOption } from './read.ts'

const ASK_EVERY_MS = 500
const COLUMNS = ['id', 'kind', 'pipeline', 'table', 'to', 'state', 'created', 'ended', 'writer', 'result', 'error']

const SCREEN = ['job', 'what', 'of', 'state', 'ended', 'outcome']

/** A job as the API tells of it. */
export interface JobRow extends Row {
  readonly id: string
  readonly state: string
  readonly kind: string
  readonly pipeline: string
  readonly table?: string
  readonly ended: string | null
  readonly result: Readonly<Record<string, number | string | boolean>> | null
  readonly error: { readonly code: string; readonly message: string; readonly fix?: string } | null
}

export interface JobOptions {
  readonly url: string
  readonly token?: string
  readonly output: OutputFormat
  readonly wait: boolean
}

/** Commands that ask a running kappalake for work that takes longer than a request. */
export function addOperateCommands(program: Command, context: CliContext): void {
  const command = (usage: string, description: string): Command =>
    program
      .command(usage)
      .description(description)
      .addOption(
        new Option('--url <url>', 'address of the running kappalake').env('KAPPALAKE_URL').default(DEFAULT_URL),
      )
      .addOption(tokenOption())
      .addOption(outputOption())
  const ask = (path: string, body: object, options: JobOptions) => askForJob(path, body, options, context)
  const job = (usage: string, description: string): Command =>
    command(usage, description).option('--no-wait', 'end when the job is recorded, not when it is done')

  job('compact <table>', 'concatenate small files and leave out deleted rows').action(
    (table: string, options: JobOptions) => ask(`/v1/tables/${encodeURIComponent(table)}/compact`, {}, options),
  )
  job('expire <table>', 'delete files and versions that are kept no longer').action(
    (table: string, options: JobOptions) => ask(`/v1/tables/${encodeURIComponent(table)}/expire`, {}, options),
  )
  job('rollback <pipeline>', 'go back to an older version, and stay paused there')
    .requiredOption('--to <version>', 'number of the version')
    .option('--yes', 'do it without being asked again')
    .action((pipeline: string, options: JobOptions & { to: string; yes?: boolean }) => {
      if (options.yes !== true)
        throw new LakeError(
          'request.invalid',
          `this makes version ${options.to} the newest state of all tables of ${pipeline}, and pauses it`,
          { fix: 'Add --yes. What came later is read again after "kappalake resume".' },
        )
      return ask(`/v1/pipelines/${encodeURIComponent(pipeline)}/rollback`, { to: options.to }, options)
    })
  command('jobs', 'list the jobs, the newest first').action(async (options: JobOptions) => {
    const client = openClient(options.url, context.fetch, context.signal, options.token)
    printJobs(await client.list<JobRow>('/v1/jobs', 10_000), options, context)
  })
}

/** Asks for a job, waits for it when told so, and prints what became of it. */
export async function askForJob(path: string, body: object, options: JobOptions, context: CliContext): Promise<void> {
  const client = openClient(options.url, context.fetch, context.signal, options.token)
  const asked = await client.post<JobRow>(path, body)
  printJobs([options.wait ? await over(client, asked, context) : asked], options, context)
}

function printJobs(jobs: readonly JobRow[], { output }: JobOptions, context: CliContext): void {
  context.out.write(
    output === 'table'
      ? formatRows(SCREEN, jobs.map(onScreen), output, context.out)
      : formatRows(
          COLUMNS,
          jobs.map((job) => ({ ...job, error: errorOf(job) })),
          output,
        ),
  )
}

/** Waits until a job is over. Throws why it failed. */
async function over(client: Client, asked: JobRow, context: CliContext): Promise<JobRow> {
  for (let job = asked; ; job = await client.get<JobRow>(`/v1/jobs/${asked.id}`)) {
    if (job.error !== null) {
      const { code, message, fix } = job.error
      throw new LakeError(code as LakeErrorCode, message, fix === undefined ? {} : { fix })
    }
    if (job.state === 'done') return job
    await context.clock.sleep(ASK_EVERY_MS, context.signal)
    if (context.signal.aborted)
      throw new LakeError('sql.cancelled', `job ${job.id} is ${job.state}, and goes on`, {
        fix: 'See "kappalake jobs".',
      })
  }
}

/** What a person wants to know of a job; programs take another format. */
function onScreen(job: JobRow): Row {
  const { id, kind, pipeline, table, state, ended } = job
  return {
    job: id.slice(0, 12),
    what: kind,
    of: table ?? pipeline,
    state,
    ended,
    outcome: errorOf(job) ?? outcomeOf(job),
  }
}

function outcomeOf({ kind, result }: JobRow): string | null {
  if (result === null) return null
  const { removedFiles, addedFiles, bytes, versions, files, version } = result
  const size = `${(Number(bytes) / 1024).toFixed(0)} KiB`
  switch (kind) {
    case 'compact':
      return removedFiles === 0 ? 'nothing to do' : `${removedFiles} files became ${addedFiles} (${size})`
    case 'expire':
      return `${versions} versions and ${files} files deleted (${size})`
    case 'retry':
      return retried(result)
    case 'discard':
      return `${result['dryRun'] === true ? 'would discard' : 'discarded'} ${result['discarded']}`
    default:
      return `version ${version}`
  }
}

function retried({ resolved, stale, failed, undecided, dryRun }: NonNullable<JobRow['result']>): string {
  const parts = [
    `${resolved} resolved${Number(stale) > 0 ? ` (${stale} stale)` : ''}`,
    `${failed} failed again`,
    ...(Number(undecided) > 0 ? [`${undecided} undecided`] : []),
  ]
  return `${dryRun === true ? 'would be: ' : ''}${parts.join(', ')}`
}

function errorOf({ error }: JobRow): string | null {
  return error === null ? null : `${error.code}: ${error.message}`
}
