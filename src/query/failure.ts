import path from 'node:path'
import { LakeError } from '../error.ts'
import type { View } from './messages.ts'

/** A failure of a query as its caller may read it, and whether the process that met it can be trusted any longer. */
export interface Failure {
  readonly error: LakeError
  readonly isTainted: boolean
}

/**
 * DuckDB's messages hold paths of this machine and pieces of the statement: what helps is kept, the rest is not. A file
 * of the `views` that cannot be read is named, with its table.
 */
export function failureOf(error: unknown, views: readonly View[] = []): Failure {
  if (error instanceof LakeError) return { error, isTainted: error.code === 'result.too_large' }
  const raw = error instanceof Error ? error.message : String(error)
  const [, kind = '', said = raw] = /^([A-Za-z ]+?) Error: ([\s\S]*)$/.exec(raw) ?? []
  const broken = brokenFile(paragraph(said), views)
  if (broken !== undefined) return { error: unreadable(broken, error), isTainted: true }
  const message = clean(said)
  switch (kind.toLowerCase()) {
    case 'parser':
    case 'syntax':
      return { error: new LakeError('sql.syntax', message), isTainted: false }
    case 'binder':
    case 'catalog':
    case 'conversion':
    case 'constraint':
    case 'invalid input':
    case 'invalid type':
    case 'mismatch type':
    case 'not implemented':
    case 'out of range':
    case 'sequence':
      return { error: new LakeError('sql.failed', message), isTainted: false }
    case 'permission':
      return {
        error: new LakeError('sql.denied', 'files and settings cannot be reached from a query'),
        isTainted: true,
      }
    case 'out of memory':
      return {
        error: new LakeError('sql.failed', 'the query needs more memory than it may have', {
          fix: 'Group or join less at once, or raise query.memory.',
        }),
        isTainted: true,
      }
    case 'io':
      return {
        error: new LakeError('store.corrupt', 'a file of the pinned version cannot be read', {
          fix: 'Look whether files below tables/ were removed or changed by hand.',
          cause: error,
        }),
        isTainted: true,
      }
    default:
      return { error: new LakeError('sql.failed', 'the query engine failed', { cause: error }), isTainted: true }
  }
}

interface BrokenFile {
  readonly table: string
  readonly file: string
}

/** What DuckDB says of a file that is no whole Parquet file, also where it does not say which. */
const PARQUET_FAULT =
  /TProtocolException|[Tt]hrift|Parquet|magic bytes|Snappy|ZSTD|GZIP|LZ4|Brotli|decompress|page header|dictionary page|[Oo]ut of buffer|corrupt/

/** The file that a message speaks of: by its path, or because it is the only one that it can be. */
function brokenFile(message: string, views: readonly View[]): BrokenFile | undefined {
  const all = views.flatMap((view) => filesOf(view).map((file) => ({ table: view.name, file })))
  const named = all.find(({ file }) => message.includes(file))
  if (named !== undefined || !PARQUET_FAULT.test(message)) return named
  return all.length === 1 ? all[0] : undefined
}

function filesOf({ files, partial = [], open }: View): readonly string[] {
  const own = [...files, ...partial.flatMap((part) => part.files)]
  return open === undefined ? own : [...own, ...filesOf(open.state)]
}

function unreadable({ table, file }: BrokenFile, cause: unknown): LakeError {
  const name = path.basename(file)
  return new LakeError('store.corrupt', `the file ${name} of ${table} is no whole Parquet file`, {
    context: { table, file: name },
    fix: 'Restore it from a copy of the store, or rebuild the table with a replay.',
    cause,
  })
}

/** The first paragraph without the echo of the statement. */
function paragraph(message: string): string {
  return message.split(/\n\s*\nLINE \d+:|\nLINE \d+:/)[0]!
}

/** The same without paths. */
function clean(message: string): string {
  return paragraph(message)
    .replace(/(^|[\s"'([=])(?:file:\/\/)?\/[^\s"',;)\]]+/g, '$1<file>')
    .trim()
    .slice(0, 2_000)
}
