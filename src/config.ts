import os from 'node:os'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { idsOfKeys } from './config-keys.ts'
import { DEFAULTS, fileSchema, isSecret, SECRETS, settingsSchema, toSettings } from './config-schema.ts'
import { interpolate, readConfigFile, type ConfigFile } from './config-file.ts'
import { checkLake, checkPipelines } from './define-check.ts'
import { didYouMean, invalidField, parseFields, pathText, type FieldPath } from './define-fields.ts'
import type { LakeDefinition } from './define.ts'
import { LakeError } from './error.ts'
import { withMaps } from './map-bundle.ts'
import type { OnRead } from './read-files.ts'
import type { KafkaSettings, Settings, StoreSettings } from './settings.ts'

/** What a lake is and how it runs, and where each value came from. */
export interface LoadedConfig {
  readonly definition: LakeDefinition
  readonly settings: Settings
  /** Settings by field, as texts, with their origin: `default`, `kappalake.yaml:12`, `KAPPALAKE__HTTP__PORT`, `--port`. */
  readonly sources: ReadonlyMap<string, SettingSource>
  /** The file that was read; undefined when there was none. */
  readonly file: string | undefined
  /** Hash of the bundle that defined the tables in TypeScript. */
  readonly definitionHash: string | undefined
}

export interface SettingSource {
  readonly value: string
  readonly source: string
  readonly isSecret: boolean
}

export interface LoadOptions {
  /** Default: `kappalake.yaml`, `kappalake.yml`, `kappalake.config.ts` or `lake.ts` of the folder, whichever is first. */
  readonly file?: string | undefined
  readonly env?: Readonly<Record<string, string | undefined>>
  /** By field, such as `{ 'http.port': '8080' }`. */
  readonly flags?: Readonly<Record<string, string | undefined>>
  /** Default: the working folder. */
  readonly folder?: string
  /** Also told of files that were looked for and are not there. */
  readonly onRead?: OnRead
}

/**
 * Reads definition and settings; defaults < file < environment < flags. Throws LakeError `config.*` that names the file
 * with its line (or the variable, or the flag), the field and the fix.
 */
export async function loadConfig(options: LoadOptions = {}): Promise<LoadedConfig> {
  const { env = {}, flags = {}, folder = process.cwd(), onRead = () => undefined } = options
  const found = options.file ?? FILES.find((candidate) => isThere(path.join(folder, candidate), onRead))
  const file = found === undefined ? undefined : await readConfigFile(path.resolve(folder, found), onRead)
  const content = file === undefined ? {} : isLake(file.content) ? { pipelines: file.content } : file.content
  return withOrigin(file, async () => {
    if (typeof content !== 'object' || content === null || Array.isArray(content))
      throw invalidField([], 'must be a mapping', 'Write keys such as kafka, store and pipelines.')
    const base = file === undefined ? folder : path.dirname(file.file)
    refuseWrittenSecrets(file, content)
    const {
      pipelines,
      definition: reference,
      ...written
    } = interpolate(content, env, base, invalidField, [], onRead) as Record<string, unknown>
    const { definition, hash } = await readDefinition(pipelines, reference, base, file, onRead)
    const layers = [
      { origin: (at: FieldPath) => fileOrigin(file, at), values: normalStore(written) },
      ...envLayers(env),
      ...flagLayers(flags),
    ]
    return { ...resolve(layers, base), definition, file: file?.file, definitionHash: hash }
  })
}

/** Settings as a program writes them: the keys and forms of `kappalake.yaml` (docs/config.md), all but one optional. */
export interface SettingsInput {
  readonly kafka: {
    readonly brokers: string | readonly string[]
    readonly clientId?: string
    readonly ssl?: KafkaSettings['ssl']
    readonly sasl?: KafkaSettings['sasl']
    readonly [key: string]: unknown
  }
  /** `file:./lake` (relative to the working folder), `s3://bucket/prefix`, or an object with `url` and credentials. */
  readonly store?: string | StoreSettings
  /** Where schemas of values in Avro are. */
  readonly registry?: { readonly url: string; readonly [key: string]: string | undefined }
  /** What redacted fields are hashed with, by name; at least 16 characters each. */
  readonly salts?: Readonly<Record<string, string>>
  readonly writer?: string
  readonly commit?: {
    readonly minInterval?: string
    readonly heartbeat?: string
    readonly microBatch?: { readonly bytes?: string; readonly records?: number; readonly age?: string }
  }
  readonly deadLetters?: { readonly shareMax?: number; readonly records?: number }
  readonly lanes?: number | 'auto'
  readonly takeoverAfter?: string
  readonly http?: {
    readonly host?: string
    readonly port?: number
    /** As in a file, or a text of one JSON object a line. */
    readonly keys?: string | readonly object[]
    readonly insecure?: boolean
    readonly queriesPerSecond?: number
    readonly queriesAtOnce?: number
  }
  readonly query?: Readonly<Record<string, string | number>>
  readonly log?: { readonly level?: Settings['log']['level'] }
}

/** Checks settings and fills in their defaults. Throws LakeError `config.*` that names the field and the fix. */
export function settingsOf(written: SettingsInput, folder: string = process.cwd()): Settings {
  return resolve([{ values: normalStore(written as unknown as Tree), origin: () => 'open()' }], folder).settings
}

const FILES = ['kappalake.yaml', 'kappalake.yml', 'kappalake.config.ts', 'lake.ts']

interface Layer {
  readonly values: Tree
  readonly origin: (at: FieldPath) => string
}
type Tree = { readonly [key: string]: unknown }

/** Adds the layers up, on the defaults that fit them. */
function resolve(layers: readonly Layer[], base: string): { settings: Settings; sources: Map<string, SettingSource> } {
  const given = layers.reduce<Tree>((sum, layer) => merge(sum, layer.values), DEFAULTS as Tree)
  const storeText = (given.store as Tree | undefined)?.url
  const url = typeof storeText === 'string' ? storeUrl(storeText, base) : ''
  const dynamic: Tree = {
    writer: os.hostname(),
    commit: { minInterval: url.startsWith('s3:') ? '2s' : '500ms' },
    query: { cacheDir: path.join(os.tmpdir(), `kappalake-cache-${process.getuid?.() ?? 0}`) },
  }
  const merged = merge(dynamic, given)
  const sources = new Map<string, SettingSource>()
  for (const { at, value } of leaves(merged)) {
    const layer = layers.findLast(({ values }) => at.reduce<any>((node, key) => node?.[key], values) !== undefined)
    const field = pathText(at)
    const source = layer?.origin(at) ?? 'default'
    const shown = field === 'http.keys' ? idsOfKeys(value) : textOf(value)
    sources.set(field, { value: shown, source, isSecret: isSecret(field) })
  }
  try {
    return { settings: toSettings(merged, url, os.availableParallelism()), sources }
  } catch (error) {
    throw named(error, (at) => layers.findLast(({ values }) => holds(values, at))?.origin(at))
  }
}

function isThere(file: string, onRead: OnRead): boolean {
  onRead(file)
  return existsSync(file)
}

function checked({ pipelines }: LakeDefinition, folder: string, onRead: OnRead): Promise<LakeDefinition> {
  return withMaps(checkLake(pipelines, []), folder, onRead)
}

/** The definition: `pipelines` in the file, or a TypeScript module named by `definition`, or a lake.ts beside the file. */
async function readDefinition(
  pipelines: unknown,
  reference: unknown,
  base: string,
  file: ConfigFile | undefined,
  onRead: OnRead,
): Promise<{ definition: LakeDefinition; hash: string | undefined }> {
  if (pipelines !== undefined && reference !== undefined)
    throw invalidField(['definition'], 'stands beside "pipelines"', 'Keep one of the two.')
  if (isLake(pipelines)) return { definition: await checked(pipelines, base, onRead), hash: file?.hash }
  if (pipelines !== undefined)
    return { definition: await withMaps(checkPipelines(pipelines, ['pipelines']), base, onRead), hash: undefined }
  if (isLake(reference)) return { definition: await checked(reference, base, onRead), hash: file?.hash }
  const named =
    reference === undefined ? 'lake.ts' : parseFields(fileSchema.shape.definition, reference, ['definition'])
  if (reference === undefined && !isThere(path.join(base, named), onRead))
    throw invalidField(
      ['pipelines'],
      'is missing: no table is defined',
      'Add pipelines, or put a lake.ts beside the file; "kappalake init" writes an example.',
    )
  const module = await readConfigFile(path.resolve(base, named), onRead)
  if (!isLake(module.content))
    throw new LakeError('config.invalid', `${module.file}: the default export is not a lake`, {
      context: { file: module.file },
      fix: 'Write export default defineLake({ … }).',
    })
  return { definition: await checked(module.content, path.dirname(module.file), onRead), hash: module.hash }
}

const ENV_PREFIX = 'KAPPALAKE__'

/** `KAPPALAKE__COMMIT__MIN_INTERVAL=1s` is `commit.minInterval`: parts in any case, underscores inside them ignored. */
function envLayers(env: Readonly<Record<string, string | undefined>>): Layer[] {
  return Object.entries(env)
    .filter(([name, value]) => name.startsWith(ENV_PREFIX) && value !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => layerOf(fieldOfEnv(name), value!, name))
}

function fieldOfEnv(name: string): FieldPath {
  const field: string[] = []
  let schema: any = settingsSchema
  for (const part of name.slice(ENV_PREFIX.length).split('__')) {
    const known = shapeKeys(schema)
    // Salts have names of their own.
    const isNamed = field[0] === 'salts' && field.length === 1
    const key = isNamed ? part.toLowerCase() : known.find((candidate) => squeeze(candidate) === squeeze(part))
    if (key === undefined) throw unknownName(name, squeeze(part), known)
    field.push(key)
    schema = isNamed ? undefined : shapeOf(schema)[key]
  }
  return field
}

const squeeze = (word: string): string => word.replaceAll('_', '').toLowerCase()

function unknownName(name: string, part: string, known: readonly string[]): LakeError {
  const meant = didYouMean(part, known)
  return new LakeError('config.unknown_key', `${name}: there is no setting of this name`, {
    context: { variable: name },
    fix: meant === undefined ? `Known here: ${known.join(', ')}.` : `Did you mean "${meant}"?`,
  })
}

function flagLayers(flags: Readonly<Record<string, string | undefined>>): Layer[] {
  return Object.entries(flags).flatMap(([field, value]) =>
    value === undefined ? [] : [layerOf(field.split('.'), value, `--${field.split('.').at(-1)}`)],
  )
}

function layerOf(field: FieldPath, value: string, origin: string): Layer {
  const values = field.toReversed().reduce<unknown>((inner, key) => ({ [key]: inner }), value) as Tree
  return { values: normalStore(values), origin: () => origin }
}

/** `store: s3://…` is short for `store: {url: s3://…}`. */
function normalStore(values: Tree): Tree {
  return typeof values.store === 'string' ? { ...values, store: { url: values.store } } : values
}

function storeUrl(text: string, base: string): string {
  if (/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/[^?#]*)?$/.test(text)) return text.replace(/\/+$/, '')
  if (text.startsWith('file:')) {
    const local = text.startsWith('file://') ? fileURLToPath(text) : path.resolve(base, text.slice('file:'.length))
    return `file://${local.replace(/(.)\/+$/, '$1')}`
  }
  throw invalidField(['store', 'url'], `"${text}" is not a store`, 'Write file:./lake or s3://bucket/prefix.')
}

/** Secrets come from the environment or a file: a file of settings is copied, shown and checked in. */
function refuseWrittenSecrets(file: ConfigFile | undefined, content: object): void {
  if (file === undefined || file.hash !== undefined) return
  const salts = Object.keys((content as { salts?: object | null }).salts ?? {}).map((salt) => `salts.${salt}`)
  for (const secret of [...SECRETS, ...salts]) {
    const value = secret.split('.').reduce<any>((node, key) => node?.[key], content)
    if (typeof value === 'string' && value !== '' && !value.includes('${'))
      throw invalidField(
        secret.split('.'),
        'is written out in the file',
        'Take it from the environment with ${VAR}, or from a file with ${file:/run/secrets/name}.',
      )
  }
}

/** Puts file and line in front of a field's error. */
async function withOrigin<T>(file: ConfigFile | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw file === undefined ? error : named(error, (at) => fileOrigin(file, at))
  }
}

function named(error: unknown, originOf: (at: FieldPath) => string | undefined): unknown {
  if (!(error instanceof LakeError) || error.context.origin !== undefined || error.context.fields === undefined)
    return error
  const origin = originOf(error.context.fields as FieldPath)
  if (origin === undefined) return error
  return new LakeError(error.code, `${origin} ${error.message}`, {
    context: { ...error.context, origin },
    ...(error.fix === undefined ? {} : { fix: error.fix }),
  })
}

function fileOrigin(file: ConfigFile | undefined, at: FieldPath): string {
  const line = file?.lineOf(at)
  return `${path.relative(process.cwd(), file?.file ?? '') || '.'}${line === undefined ? '' : `:${line}`}`
}

function isLake(value: unknown): value is LakeDefinition {
  return typeof value === 'object' && value !== null && Array.isArray((value as { pipelines?: unknown }).pipelines)
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function merge(under: Tree, over: Tree): Tree {
  const entries = Object.entries(over).filter(([, value]) => value !== undefined)
  return Object.fromEntries([
    ...Object.entries(under),
    ...entries.map(([key, value]): [string, unknown] => {
      const below = under[key]
      return [key, isTree(below) && isTree(value) ? merge(below, value) : value]
    }),
  ])
}

function* leaves(tree: Tree, at: FieldPath = []): Generator<{ at: FieldPath; value: unknown }> {
  for (const [key, value] of Object.entries(tree))
    if (isTree(value)) yield* leaves(value, [...at, key])
    else yield { at: [...at, key], value }
}

function holds(tree: Tree, at: FieldPath): boolean {
  return at.reduce<any>((node, key) => node?.[key], tree) !== undefined
}

function textOf(value: unknown): string {
  return Array.isArray(value) ? value.join(',') : String(value)
}

function shapeOf(schema: any): Record<string, unknown> {
  if (schema?.def?.innerType !== undefined) return shapeOf(schema.def.innerType)
  const option =
    schema?.def?.type === 'union' ? schema.def.options.find((o: any) => o.def.type === 'object') : undefined
  return option?.def.shape ?? schema?.def?.shape ?? {}
}

function shapeKeys(schema: unknown): string[] {
  return Object.keys(shapeOf(schema))
}
