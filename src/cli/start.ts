import type { Command } from 'commander'
import { loadConfig, type LoadedConfig } from '../config.ts'
import type { Lake } from '../index.ts'
import type { OnRead } from '../read-files.ts'
import { redacted } from '../redact.ts'
import type { CliContext } from './context.ts'
import { formatRows, type OutputFormat } from './output.ts'
import { outputOption } from './read.ts'
import { addressOf, runLake, showStatus, untilEnd, type OpenLake } from './serve.ts'

/** `start` and `config print`: what a configuration file is read for. */
export function addStartCommands(program: Command, context: CliContext, openLake: OpenLake): void {
  withSettings(program.command('start').description('ingest and serve, as the configuration file says'))
    .option('--accept-code', 'where the definition changed: keep the rows, and go on with the new one from here')
    .action(async (options: SettingFlags & { acceptCode?: boolean }) => {
      const loaded = await load(context, options)
      const work = async (lake: Lake, signal: AbortSignal): Promise<void> => {
        context.out.write(banner(loaded))
        await Promise.all([showStatus(context, lake, signal), untilEnd(signal)])
      }
      const { acceptCode = false } = options
      await runLake(context, openLake, loaded.definition, loaded.settings, work, { acceptCode })
    })
  const config = program.command('config').description('look at the configuration')
  withSettings(config.command('print').description('every setting with its value and its source; secrets are masked'))
    .option('--resolved', 'with defaults, environment and flags (the only form there is)')
    .addOption(outputOption())
    .action(async (options: SettingFlags & { output: OutputFormat }) => {
      const loaded = await load(context, options)
      context.out.write(formatRows(['setting', 'value', 'source'], printable(loaded), options.output, context.out))
    })
}

export interface SettingFlags {
  readonly config?: string
  readonly brokers?: string
  readonly store?: string
  readonly port?: string
  readonly host?: string
  readonly insecure?: boolean
  readonly lanes?: string
}

export function withSettings(command: Command): Command {
  return command
    .option('-c, --config <file>', 'kappalake.yaml, kappalake.config.ts or lake.ts [the first that is there]')
    .option('--brokers <host:port,…>', 'kafka.brokers')
    .option('--store <url>', 'store.url: file:./lake or s3://bucket/prefix')
    .option('--host <address>', 'http.host')
    .option('--port <n>', 'http.port')
    .option('--insecure', 'http.insecure: serve other machines without asking for keys')
    .option('--lanes <n>', 'lanes: auto or a number')
}

export function load(context: CliContext, options: SettingFlags, onRead?: OnRead): Promise<LoadedConfig> {
  return loadConfig({
    ...(onRead === undefined ? {} : { onRead }),
    file: options.config,
    env: context.env,
    folder: context.folder,
    flags: {
      'kafka.brokers': options.brokers,
      'store.url': options.store,
      'http.host': options.host,
      'http.port': options.port,
      'http.insecure': options.insecure === true ? 'true' : undefined,
      lanes: options.lanes,
    },
  })
}

/** Settings in the order of their names. A secret shows whether it is set, and nothing of it. */
export function printable({ sources }: LoadedConfig): { setting: string; value: string; source: string }[] {
  return [...sources]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([setting, { value, source, isSecret }]) => ({
      setting,
      value: isSecret ? mask(value) : inOneLine(redacted(value)),
      source,
    }))
}

function mask(value: string): string {
  return value === '' ? '' : '••••••'
}

/** A certificate has many lines; which one it is, its source says. */
function inOneLine(value: string): string {
  const [first = '', ...more] = value.trim().split('\n')
  return more.length === 0 ? first : `${first} …`
}

export function banner({ definition, settings, file }: LoadedConfig): string {
  const { source, store, http, lanes } = settings
  const from = source.kind === 'kafka' ? `Kafka at ${source.kafka.brokers.join(', ')}` : 'the in-process demo log'
  const tables = definition.pipelines.map(
    (pipeline) => `  ${pipeline.name}: ${pipeline.tables.map((table) => `${table.name} ← ${table.topic}`).join(', ')}`,
  )
  return [
    `kappalake · ${file ?? 'no file'} · ${lanes} ${lanes === 1 ? 'lane' : 'lanes'}`,
    `  from ${from} to ${store.url}`,
    ...tables,
    `→ API ${addressOf(http)}   curl -s '${addressOf(http)}/v1/tables'`,
    '',
  ].join('\n')
}
