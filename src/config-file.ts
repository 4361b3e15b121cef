import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { isMap, isSeq, LineCounter, parseDocument, type Document } from 'yaml'
import type { FieldPath } from './define-fields.ts'
import { fromErrorMessage, LakeError, type ErrorMessage } from './error.ts'
import { tellingReads, type OnRead } from './read-files.ts'

/** A configuration file as it was written, and where in it each field stands. */
export interface ConfigFile {
  readonly file: string
  readonly content: unknown
  /** 1-based line of a field or of its closest parent; undefined for TypeScript. */
  lineOf(field: FieldPath): number | undefined
  /** Of the bundle, for TypeScript. */
  readonly hash: string | undefined
}

/** Reads `.yaml`, `.yml`, `.json`, `.ts`, `.mts`, `.js` or `.mjs`. Throws `config.invalid`. */
export async function readConfigFile(file: string, onRead: OnRead = () => undefined): Promise<ConfigFile> {
  onRead(file)
  if (!existsSync(file))
    throw new LakeError('config.invalid', `${file} does not exist`, {
      context: { file },
      fix: 'Name an existing file with --config, or make one with "kappalake init".',
    })
  if (/\.(ya?ml|json)$/.test(file)) return readYaml(file)
  if (/\.m?[jt]s$/.test(file)) return readModule(file, onRead)
  throw new LakeError('config.invalid', `${file} is neither YAML nor TypeScript`, { context: { file } })
}

/** Puts `${VAR}`, `${VAR:-default}` and `${file:path}` into every text. `$${` stands for itself. Throws `config.invalid`. */
export function interpolate(
  value: unknown,
  env: Readonly<Record<string, string | undefined>>,
  folder: string,
  fail: (at: FieldPath, message: string, fix: string) => LakeError,
  at: FieldPath = [],
  onRead: OnRead = () => undefined,
): unknown {
  if (Array.isArray(value)) return value.map((item, i) => interpolate(item, env, folder, fail, [...at, i], onRead))
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, interpolate(item, env, folder, fail, [...at, key], onRead)]),
    )
  if (typeof value !== 'string') return value
  return value.replace(/\$\$\{|\$\{([^}]*)\}/g, (whole, inner: string | undefined) => {
    if (inner === undefined) return '${'
    if (inner.startsWith('file:')) {
      const file = path.resolve(folder, inner.slice('file:'.length))
      onRead(file)
      if (!existsSync(file)) throw fail(at, `the file of ${whole} does not exist`, `Write the value to ${file}.`)
      return readFileSync(file, 'utf8').trim()
    }
    const match = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inner)
    if (match === null) throw fail(at, `${whole} is not a reference`, 'Write ${VAR}, ${VAR:-default} or ${file:path}.')
    const [, name, fallback] = match
    const found = env[name!]
    if (fallback !== undefined) return found === undefined || found === '' ? fallback : found
    if (found === undefined)
      throw fail(at, `the variable ${name} is not set`, `Set ${name}, or write \${${name}:-default}.`)
    return found
  })
}

function readYaml(file: string): ConfigFile {
  return parseYaml(file, readFileSync(file, 'utf8'))
}

/** Reads the text of a file. Throws `config.invalid`, which names the file and the line. */
export function parseYaml(file: string, text: string): ConfigFile {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines })
  const fail = (line: number, message: string): LakeError =>
    new LakeError('config.invalid', `${file}:${line} ${message.split('\n')[0]}`, {
      context: { file, line },
      fix: 'Correct the YAML there.',
    })
  const problem = document.errors[0]
  if (problem !== undefined) throw fail(lines.linePos(problem.pos[0]).line, problem.message)
  let content: unknown
  try {
    content = document.toJS() ?? {}
  } catch (error) {
    // Aliases of what is not there, or so many of them that they would fill the memory.
    throw fail(1, error instanceof Error ? error.message : String(error))
  }
  return {
    file,
    content,
    lineOf: (field) => {
      const offset = offsetOf(document, field)
      return offset === undefined ? undefined : lines.linePos(offset).line
    },
    hash: undefined,
  }
}

/** Where the key of the field, or of its closest parent that stands in the file, begins. */
function offsetOf(document: Document, field: FieldPath): number | undefined {
  let node: unknown = document.contents
  let offset: number | undefined
  for (const key of field) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String((item.key as any)?.value ?? item.key) === String(key))
      if (pair === undefined) break
      offset = (pair.key as any)?.range?.[0] ?? offset
      node = pair.value
    } else if (isSeq(node)) {
      const item = node.items[Number(key)] as any
      offset = item?.range?.[0] ?? offset
      node = item
    } else break
  }
  return offset
}

/**
 * Bundles a module with what it imports by relative path into a file beside it (so that packages resolve from there),
 * and imports that. `kappalake` is this very installation, so a definition needs no package of its own. Where the folder
 * may only be read, as in a container, the bundle lies elsewhere, with the same packages beside it.
 */
async function readModule(file: string, onRead: OnRead): Promise<ConfigFile> {
  const fail = (cause: unknown, fix?: string): LakeError =>
    new LakeError('config.invalid', `${file}: ${cause instanceof Error ? cause.message.trim() : String(cause)}`, {
      context: { file },
      cause,
      ...(fix === undefined ? {} : { fix }),
    })
  const result = await build({
    entryPoints: [file],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'silent',
    plugins: [
      tellingReads(onRead),
      {
        name: 'kappalake',
        setup(plugin) {
          plugin.onResolve({ filter: /^[^./]/ }, ({ path: name, kind }) => {
            if (kind === 'entry-point' || path.isAbsolute(name)) return undefined
            return { path: name === 'kappalake' ? ownEntry() : name, external: true }
          })
        },
      },
    ],
  }).catch((cause: unknown) => {
    throw fail(cause, 'Correct the module.')
  })
  const code = result.outputFiles[0]!.contents
  const hash = createHash('sha256').update(code).digest('hex').slice(0, 32)
  const bundle = await writeBundle(path.dirname(file), `.kappalake-${hash.slice(0, 12)}-${process.pid}.mjs`, code)
  try {
    const module = (await import(pathToFileURL(bundle.file).href)) as { default?: unknown }
    if (module.default === undefined)
      throw fail(
        'there is no default export',
        'Write export default defineLake({ … }), or export default { kafka, store, … }.',
      )
    return { file, content: module.default, lineOf: () => undefined, hash }
  } catch (error) {
    throw toLakeError(error, file) ?? fail(error, 'Run the module alone to see where it fails.')
  } finally {
    await rm(bundle.toRemove, { recursive: true, force: true })
  }
}

const READ_ONLY: ReadonlySet<unknown> = new Set(['EROFS', 'EACCES', 'EPERM'])

/**
 * Writes the bundle beside its module, or where that cannot be, into a temporary folder that sees the same packages.
 * Resolves with the file, and with what must be removed after it was read.
 */
export async function writeBundle(
  folder: string,
  name: string,
  code: Uint8Array,
  write: (file: string, code: Uint8Array) => Promise<void> = writeFile,
): Promise<{ readonly file: string; readonly toRemove: string }> {
  const beside = path.join(folder, name)
  try {
    await write(beside, code)
    return { file: beside, toRemove: beside }
  } catch (error) {
    if (!READ_ONLY.has((error as NodeJS.ErrnoException).code)) throw error
  }
  const place = await mkdtemp(path.join(os.tmpdir(), 'kappalake-definition-'))
  const packages = nearestPackages(folder)
  if (packages !== undefined) await symlink(packages, path.join(place, 'node_modules'))
  await writeFile(path.join(place, name), code)
  return { file: path.join(place, name), toRemove: place }
}

function nearestPackages(folder: string): string | undefined {
  const packages = path.join(folder, 'node_modules')
  if (existsSync(packages)) return packages
  const parent = path.dirname(folder)
  return parent === folder ? undefined : nearestPackages(parent)
}

/** The library beside this file: dist/index.js for the command, src/index.ts where TypeScript runs as it is. */
function ownEntry(): string {
  const here = fileURLToPath(import.meta.url)
  const folder = path.dirname(here)
  const entry = here.endsWith('.ts') ? path.join(folder, '../dist/index.js') : path.join(folder, 'index.js')
  return pathToFileURL(entry).href
}

/** Errors of a definition come from another copy of the class: known by name and code. */
function toLakeError(error: unknown, file: string): LakeError | undefined {
  if (error instanceof LakeError && error.message.startsWith(file)) return error
  const given = error as Partial<ErrorMessage> & { name?: string }
  if (given?.name === 'LakeError' && given.code !== undefined)
    return fromErrorMessage({
      code: given.code,
      message: `${file}: ${given.message}`,
      retryable: false,
      context: { ...given.context, file },
      fix: given.fix,
    })
  const missing = /'kappalake'.*does not provide an export named '(\w+)'|index\.js'.*export named '(\w+)'/.exec(
    String(error),
  )
  if (missing === null) return undefined
  return new LakeError(
    'config.unsupported',
    `${file}: kappalake has no "${missing[1] ?? missing[2]}" in this release`,
    {
      context: { file },
      fix: 'Definitions are made with table, t, json, raw and defineLake.',
    },
  )
}
