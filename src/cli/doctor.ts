import { execFile } from 'node:child_process'
import { statfs } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Command } from 'commander'
import type { Clock } from '../clock.ts'
import type { LoadedConfig } from '../config.ts'
import { checkRegistry, needsRegistry } from '../define-avro.ts'
import type { LakeDefinition } from '../define.ts'
import { asLakeError, LakeError } from '../error.ts'
import { emptyTables } from '../ingest/create-tables.ts'
import { openRegistry } from '../ingest/registry.ts'
import { MemoryStorage } from '../lake/storage/memory.ts'
import type { Storage } from '../lake/storage/storage.ts'
import { partitionId, type Source } from '../log.ts'
import { redacted } from '../redact.ts'
import type { Settings, SourceSettings, StoreSettings } from '../settings.ts'
import { EXIT, fixOf, paint, type CliContext, type Looks } from './context.ts'
import { httpCheck } from './doctor-http.ts'
import { wrapped } from './layout.ts'
import { formatRows, type OutputFormat } from './output.ts'
import { outputOption } from './read.ts'
import { load, withSettings, type SettingFlags } from './start.ts'

/** What the doctor looks at: the very parts that a lake is opened with. */
export interface DoctorParts {
  openStorage(settings: StoreSettings, clock: Clock): Promise<Storage>
  /** Throws `store.no_conditional_write`. */
  assertConditionalWrites(storage: Storage, clock: Clock): Promise<unknown>
  openSource(settings: SourceSettings, clock: Clock): Source
}

export interface CheckResult {
  readonly check: string
  readonly ok: boolean
  readonly detail: string
  readonly fix: string | undefined
}

export interface Check {
  readonly name: string
  /** Resolves with what was found; throws what is wrong, with its fix. */
  run(): Promise<string>
}

export function addDoctorCommand(
  program: Command,
  context: CliContext,
  parts: DoctorParts,
  exit: (code: number) => void,
) {
  withSettings(program.command('doctor').description('check all that a start needs'))
    .addOption(outputOption())
    .action(async (options: SettingFlags & { output: OutputFormat }) => {
      const results = [await runCheck(nodeCheck(process.versions.node))]
      let loaded: LoadedConfig | undefined
      results.push(
        await runCheck({
          name: 'configuration',
          run: async () => {
            loaded = await load(context, options)
            return loaded.file ?? 'from the environment and flags'
          },
        }),
      )
      if (loaded !== undefined)
        for (const check of checksOf(loaded, parts, context.clock, context.fetch)) results.push(await runCheck(check))
      context.out.write(report(results, options.output, context.out))
      if (results.some((result) => !result.ok)) exit(EXIT.notReady)
    })
}

export function checksOf(
  { settings, definition }: LoadedConfig,
  parts: DoctorParts,
  clock: Clock,
  fetchWith: typeof fetch = fetch,
): Check[] {
  const topics = [...new Set(definition.pipelines.flatMap(({ tables }) => tables.map((table) => table.topic)))]
  return [
    { name: 'definition', run: () => checkDefinition(definition, clock) },
    { name: 'store', run: () => checkStore(settings.store, parts, clock) },
    { name: 'log', run: () => checkLog(settings.source, topics, parts, clock) },
    ...registryChecks(definition, settings, clock),
    { name: 'disk', run: () => checkDisk(settings) },
    httpCheck(settings.http, fetchWith),
    { name: 'query', run: checkDuckDb },
  ]
}

export async function runCheck(check: Check): Promise<CheckResult> {
  try {
    return { check: check.name, ok: true, detail: await check.run(), fix: undefined }
  } catch (error) {
    const known = asLakeError(error)
    const detail = redacted(`${known.code}: ${known.message}`)
    return { check: check.name, ok: false, detail, fix: redacted(fixOf(known)) }
  }
}

export function report(results: readonly CheckResult[], format: OutputFormat, looks: Looks): string {
  if (format !== 'table')
    return formatRows(
      ['check', 'ok', 'detail', 'fix'],
      results.map((result) => ({ ...result })),
      format,
    )
  const { hasColor } = looks
  const failed = results.filter(({ ok }) => !ok).length
  const lines = results.flatMap(({ check, ok, detail, fix }) => {
    const mark = ok ? paint('✓', 'green', hasColor) : paint('✗', 'red', hasColor)
    return [
      `${mark} ${check.padEnd(13)} ${detail}`,
      ...(fix === undefined ? [] : [`${' '.repeat(DETAIL_AT)}${paint('fix:', 'yellow', hasColor)} ${fix}`]),
    ]
  })
  const verdict = failed === 0 ? 'nothing is missing' : `${failed} of ${results.length} checks failed`
  return `${[...lines, '', verdict].map((line) => wrapped(line, looks, DETAIL_AT)).join('\n')}\n`
}

/** Where on its line a check says what it found. */
const DETAIL_AT = 16

/** Package.json says the same under `engines`. */
const NODE_MIN = [20, 12] as const

export function nodeCheck(version: string): Check {
  return {
    name: 'node',
    run: async () => {
      const [major = 0, minor = 0] = version.split('.').map(Number)
      if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return `Node.js ${version}`
      throw new LakeError('not_ready', `Node.js ${version} is too old`, {
        fix: `Install Node.js ${NODE_MIN.join('.')} or newer.`,
      })
    },
  }
}

/**
 * Makes the tables as a first start does, in memory: what a definition says of partitions fits its columns. Tables whose
 * first columns are a registry's are made when it can be asked.
 */
async function checkDefinition({ pipelines }: LakeDefinition, clock: Clock): Promise<string> {
  const storage = new MemoryStorage('doctor', clock)
  const names: string[] = []
  for (const pipeline of pipelines) {
    const asked = pipeline.tables.filter((table) => needsRegistry(table)).map(({ name }) => name)
    const only = [...pipeline.tables, ...pipeline.windows].filter(
      (table) => !asked.includes(table.name) && !('source' in table && asked.includes(table.source)),
    )
    names.push(...only.map(({ name }) => name))
    await emptyTables(pipeline, new Set(only.map(({ name }) => name)), {}, storage, clock)
  }
  return names.length === 0 ? 'the columns are those of a registry' : names.join(', ')
}

async function checkStore(settings: StoreSettings, parts: DoctorParts, clock: Clock): Promise<string> {
  const storage = await parts.openStorage(settings, clock)
  try {
    await parts.assertConditionalWrites(storage, clock)
    return `${storage.url} can be written, and of two creates of one object the second is refused`
  } finally {
    await storage.close()
  }
}

async function checkLog(
  settings: SourceSettings,
  names: readonly string[],
  parts: DoctorParts,
  clock: Clock,
): Promise<string> {
  const source = parts.openSource(settings, clock)
  try {
    const topics = await source.topics(names)
    const missing = names.filter((name) => !topics.has(name))
    if (missing.length > 0)
      throw new LakeError('kafka.topic_missing', `no topic ${missing.join(', ')}`, {
        fix: 'Create it, or correct from.topic; a start would wait for it.',
      })
    const found: string[] = []
    for (const { topic, topicId, partitions } of topics.values()) {
      const bounds = await source.bounds(partitions.map((partition) => partitionId(topic, partition)))
      const records = [...bounds.values()].reduce((sum, { logStart, end }) => sum + (end - logStart), 0n)
      found.push(`${topic} (id ${topicId}, ${partitions.length} partitions, ${records} offsets)`)
    }
    return found.join(', ')
  } finally {
    await source.close()
  }
}

/** Only where a table is read with schemas of a registry. */
function registryChecks(definition: LakeDefinition, settings: Settings, clock: Clock): Check[] {
  const { registry } = settings
  if (!definition.pipelines.some(({ tables }) => tables.some(needsRegistry))) return []
  const run = async (): Promise<string> => {
    checkRegistry(definition, settings)
    await openRegistry(registry!, clock).reach()
    return `the schema registry at ${registry!.url} answers`
  }
  return [{ name: 'registry', run }]
}

const DISK_BYTES_MIN = 2 ** 30

/** Of the store when it is local, and of the query cache. */
async function checkDisk({ store, query }: Settings): Promise<string> {
  const folders = [...(store.url.startsWith('file://') ? [store.url.slice('file://'.length)] : []), query.cacheDir]
  const found: string[] = []
  for (const folder of folders) {
    const { bavail, bsize } = await statfsOfNearest(folder)
    const free = `${folder} has ${(Number(bavail * bsize) / 2 ** 30).toFixed(1)} GiB free`
    if (bavail * bsize < DISK_BYTES_MIN)
      throw new LakeError('store.disk_full', free, { fix: 'Free some space: at least 1 GiB is needed.' })
    found.push(free)
  }
  return found.join(', ')
}

const DUCKDB_MS_MAX = 20_000

/** As lanes and queries use it: in a process of its own. */
async function checkDuckDb(): Promise<string> {
  const script = `
    const { DuckDBInstance } = await import(process.argv[1])
    const connection = await (await DuckDBInstance.create()).connect()
    const answer = await connection.runAndReadAll('SELECT version() AS version')
    process.stdout.write(answer.getRowObjectsJson()[0].version)
    process.exit(0)`
  const api = import.meta.resolve('@duckdb/node-api')
  try {
    const child = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script, api], {
      timeout: DUCKDB_MS_MAX,
      killSignal: 'SIGKILL',
    })
    return `DuckDB ${(await child).stdout} answers in a child process`
  } catch (cause) {
    throw new LakeError('sql.crashed', 'DuckDB does not start in a child process', {
      cause,
      fix: 'Run npm ci again on this machine: its binary fits one platform. Also look at the limits of memory and processes.',
    })
  }
}

async function statfsOfNearest(folder: string): Promise<{ bavail: bigint; bsize: bigint }> {
  try {
    return await statfs(folder, { bigint: true })
  } catch (error) {
    const parent = path.dirname(folder)
    if (parent === folder) throw error
    return statfsOfNearest(parent)
  }
}
