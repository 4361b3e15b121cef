import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { startTrino } from '../../infra/trino.mjs'
import { loadConfig } from '../../src/config.ts'

/**
 * What documentation shows, run as it stands. A comment on the line before a block, which no reader sees, says so:
 *
 *     <!-- run -->                       it ends well
 *     <!-- run /paid/ -->                and prints what this matches
 *     <!-- run as spark /3/ -->          by another runner than that of its language
 *     <!-- not run: needs Docker -->     nobody runs it, for this reason
 *
 * Every block in a language that could be run carries one of them.
 */
export interface Block {
  readonly file: string
  /** Of its first fence, from 1. */
  readonly line: number
  readonly language: string
  readonly text: string
  readonly mark: Mark | undefined
}

export type Mark =
  | { readonly kind: 'run'; readonly as: string; readonly prints: RegExp | undefined }
  | { readonly kind: 'not-run'; readonly reason: string }

const ROOT = path.resolve(import.meta.dirname, '../..')
const RUN = /^<!-- run(?: as (?<as>[a-z]+))?(?: \/(?<prints>.+)\/)? -->$/
const NOT_RUN = /^<!-- not run: (?<reason>.+) -->$/
const LIMIT_MS = 120_000

/** Throws on a comment that begins as a mark and is none, and on a block without an end. */
export function blocksIn(file: string, text: string): readonly Block[] {
  const lines = text.split('\n')
  const blocks: Block[] = []
  for (let at = 0; at < lines.length; at++) {
    const fence = /^```(\w*)$/.exec(lines[at]!)
    if (fence === null) continue
    const until = lines.indexOf('```', at + 1)
    if (until < 0) throw new Error(`${file}:${at + 1}: the block has no end`)
    const language = fence[1]!
    const mark = markOf(lines[at - 1] ?? '', language, `${file}:${at}`)
    blocks.push({ file, line: at + 1, language, text: lines.slice(at + 1, until).join('\n'), mark })
    at = until
  }
  return blocks
}

function markOf(line: string, language: string, place: string): Mark | undefined {
  const run = RUN.exec(line)?.groups
  if (run !== undefined)
    return { kind: 'run', as: run['as'] ?? language, prints: run['prints'] ? new RegExp(run['prints']) : undefined }
  const reason = NOT_RUN.exec(line)?.groups?.['reason']
  if (reason !== undefined) return { kind: 'not-run', reason }
  if (/^<!--\s*(not )?run/i.test(line)) throw new Error(`${place}: this is no mark: ${line}`)
  return undefined
}

/** Blocks of a file of the project. */
export function blocksOf(file: string): readonly Block[] {
  return blocksIn(file, readFileSync(path.join(ROOT, file), 'utf8'))
}

/** Where blocks run: a folder that they find themselves in, and what stands for the addresses that they name. */
export interface Place {
  readonly folder: string
  readonly env?: Readonly<Record<string, string>>
  /** What is written, and what is there instead: `localhost:7780` and the address of a lake of the test. */
  readonly instead?: Readonly<Record<string, string>>
}

type Runner = (text: string, place: Place) => Promise<string>

/** What a block printed. Throws, with what it said, when it did not end well or printed something else. */
export async function runBlock({ file, line, text, mark }: Block, place: Place): Promise<string> {
  if (mark?.kind !== 'run') throw new Error(`${file}:${line} is not marked as one that runs`)
  const runner = RUNNERS[mark.as]
  if (runner === undefined) throw new Error(`${file}:${line}: nothing runs ${mark.as}`)
  let placed = text
  for (const [written, there] of Object.entries(place.instead ?? {})) placed = placed.replaceAll(written, there)
  const printed = await runner(placed, place)
  if (mark.prints?.test(printed) === false)
    throw new Error(`${file}:${line} prints nothing like ${String(mark.prints)}:\n${printed.slice(0, 2_000)}`)
  return printed
}

/** Languages of blocks that must carry a mark. */
export const LANGUAGES = ['sh', 'python', 'sql', 'properties', 'yaml', 'ts']

const RUNNERS: Readonly<Record<string, Runner>> = {
  sh: (text, place) => run('/bin/sh', ['-euc', text], place, { PATH: `${shims(place.folder)}:${process.env['PATH']}` }),
  python: (text, place) => python('run_python.py', text, place),
  sql: (text, place) => python('run_duckdb.py', text, place),
  spark: (text, place) =>
    run(inCache('spark/bin/python'), [script('run_spark.py'), inCache('spark/jars'), text], place),
  trino: async (text) => {
    const lines = text.split('\n').filter((line) => !line.startsWith('#'))
    const trino = await startTrino({
      catalogs: { lake: Object.fromEntries(lines.map((line) => line.split('=', 2) as [string, string])) },
    })
    try {
      const { rows } = await trino.query('SELECT count(*) FROM lake.shop.customers')
      return `shop.customers ${String(rows[0]![0])}`
    } finally {
      await trino.stop()
    }
  },
  yaml: async (text, { folder, env = {} }) => {
    writeFileSync(path.join(folder, 'of-the-docs.yaml'), text)
    const { definition, settings } = await loadConfig({ file: path.join(folder, 'of-the-docs.yaml'), env })
    return [...definition.pipelines.map(({ name }) => name), settings.store.url].join('\n')
  },
}

/** Programs that blocks call: ours as it was built, and a curl that fails where the answer is a failure. */
function shims(folder: string): string {
  const bin = path.join(folder, '.bin')
  if (existsSync(bin)) return bin
  mkdirSync(bin)
  const shim = (name: string, line: string) => {
    writeFileSync(path.join(bin, name), `#!/bin/sh\nexec ${line} "$@"\n`)
    chmodSync(path.join(bin, name), 0o755)
  }
  shim('kappalake', `"${process.execPath}" "${path.join(ROOT, 'dist/main.js')}"`)
  shim('curl', `${whereIs('curl')} --fail-with-body --max-time 60`)
  return bin
}

function whereIs(program: string): string {
  const found = process.env['PATH']?.split(':').find((folder) => existsSync(path.join(folder, program)))
  if (found === undefined) throw new Error(`${program} is missing`)
  return path.join(found, program)
}

const python = (name: string, text: string, place: Place) =>
  run(inCache('python/bin/python'), [script(name), text], place)

const script = (name: string) => path.join(ROOT, 'test/docs', name)

function inCache(part: string): string {
  const file = path.join(path.resolve(ROOT, process.env['KAPPALAKE_CACHE'] ?? '.cache'), part)
  if (!existsSync(file)) throw new Error(`${file} is missing: run \`npm run setup\``)
  return file
}

async function run(
  program: string,
  args: readonly string[],
  { folder, env = {} }: Place,
  more: Readonly<Record<string, string>> = {},
): Promise<string> {
  // Not the caller's environment: proxies and credentials have no say in what the documentation promises.
  const own = { PATH: process.env['PATH'], HOME: folder, PYTHONDONTWRITEBYTECODE: '1' }
  const { stdout } = await promisify(execFile)(program, args, {
    cwd: folder,
    env: { ...own, ...env, ...more },
    timeout: LIMIT_MS,
    maxBuffer: 1 << 26,
  })
  return stdout
}
