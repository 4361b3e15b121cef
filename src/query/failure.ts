import { LakeError } from '../error.ts'

/** A failure of a query as its caller may read it, and whether the process that met it can be trusted any longer. */
export interface Failure {
  readonly error: LakeError
  readonly isTainted: boolean
}

/** DuckDB's messages hold paths of this machine and pieces of the statement: what helps is kept, the rest is not. */
export function failureOf(error: unknown): Failure {
  if (error instanceof LakeError) return { error, isTainted: error.code === 'result.too_large' }
  const raw = error instanceof Error ? error.message : String(error)
  const [, kind = '', said = raw] = /^([A-Za-z ]+?) Error: ([\s\S]*)$/.exec(raw) ?? []
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

/** The first paragraph without the echo of the statement, and without paths. */
function clean(message: string): string {
  return message
    .split(/\n\s*\nLINE \d+:|\nLINE \d+:/)[0]!
    .replace(/(^|[\s"'([=])(?:file:\/\/)?\/[^\s"',;)\]]+/g, '$1<file>')
    .trim()
    .slice(0, 2_000)
}
