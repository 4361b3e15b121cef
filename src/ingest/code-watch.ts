import type { PipelineDefinition } from '../define.ts'
import { asLakeError, LakeError } from '../error.ts'
import type { Version } from '../version.ts'
import { acceptCode, type AcceptParts } from './accept-code.ts'
import type { Changes } from './changes.ts'
import { codeDifferences } from './code-difference.ts'
import { changedTables, namesOf } from './codes.ts'
import { isRenamed } from './rename.ts'
import { isUntouched } from './start.ts'
import { openTables, type Tables } from './tables.ts'

const LOOK_EVERY_MS = 1_000

export interface CodeWatchOptions extends AcceptParts {
  /** Other code than the head's is taken over from here on, once, at the start. */
  readonly acceptCode?: boolean
}

/**
 * Whether a process may go on with a head: whether the head's code is its own. A table that the definition lacks is one
 * that was removed, and stays as it is; one that came while the process was running was added by other code, which has
 * taken the pipeline over.
 */
export class CodeWatch {
  readonly #options: CodeWatchOptions
  readonly #own: ReadonlySet<string>
  /** Tables of the first head whose code was ours. */
  #known: ReadonlySet<string> | undefined
  #isAccepting: boolean

  constructor(options: CodeWatchOptions) {
    this.#options = options
    this.#own = new Set(namesOf(options.definition))
    this.#isAccepting = options.acceptCode ?? false
  }

  isOurs(head: Version | undefined): boolean {
    if (head === undefined) return true
    if (changedTables(this.#options.definition, head).length > 0)
      // While nothing was read another definition may begin anew, and one that renames may do so; but once, or two
      // processes would do so in turn.
      return this.#known === undefined && (isUntouched(head) || isRenamed(this.#options.definition, head))
    this.#known ??= new Set(Object.keys(head.tables))
    return this.#foreign(head).length === 0
  }

  /** Resolves when the head's code is ours; until then `onRefused` is told why not, and again when that changes. */
  async untilOurs(
    changes: Changes,
    onHead: (head: Version) => void,
    onRefused: (error: LakeError) => void,
    signal: AbortSignal,
  ): Promise<void> {
    for (let told: string | undefined; !signal.aborted;) {
      const head = await this.#options.chain.head()
      if (head !== undefined) onHead(head)
      if (head === undefined || this.isOurs(head)) break
      const codes = codesText(head)
      if (told !== codes) {
        const refusal = await this.#refusal(head, signal)
        if (refusal === undefined) continue
        onRefused(refusal)
      }
      told = codes
      await changes.wait(LOOK_EVERY_MS)
    }
    this.#isAccepting = false
  }

  /** Goes on with our code from here on. Throws `code.not_continuable`. */
  async accept(signal?: AbortSignal): Promise<Version> {
    const version = await acceptCode(this.#options, signal)
    // Tables that the definition lacks were removed from it.
    this.#known = new Set(Object.keys(version.tables))
    return version
  }

  /** Why nothing can be ingested; undefined when our code was accepted just now. */
  async #refusal(head: Version, signal: AbortSignal): Promise<LakeError | undefined> {
    const { definition, storage } = this.#options
    if (!this.#isAccepting) {
      const tables = await openTables(storage, head.tables)
      return codeError(definition, head, tables, { wasOurs: this.#known !== undefined, foreign: this.#foreign(head) })
    }
    try {
      await this.accept(signal)
      return undefined
    } catch (error) {
      if (asLakeError(error).code !== 'code.not_continuable') throw error
      this.#isAccepting = false
      return asLakeError(error)
    }
  }

  /** Tables that came since, and are not ours. */
  #foreign({ tables }: Version): readonly string[] {
    if (this.#known === undefined) return []
    return Object.keys(tables).filter((table) => !this.#own.has(table) && !this.#known!.has(table))
  }
}

/**
 * Why a definition ingests nothing: what of the head is of other code, in words, and what can be done. `wasOurs`: the
 * pipeline was of this definition before, and was taken over.
 */
export function codeError(
  definition: PipelineDefinition,
  head: Version,
  tables: Tables,
  { wasOurs, foreign }: { readonly wasOurs: boolean; readonly foreign: readonly string[] },
): LakeError {
  const { name } = definition
  const differences = codeDifferences(definition, head, tables)
  const reasons = [
    ...differences.map(({ table, isNew, changes }) =>
      `${table} ${isNew && wasOurs ? 'is no longer there' : changes.join(', ')}`.trim(),
    ),
    ...(foreign.length === 0 ? [] : [`${foreign.join(', ')} came since`]),
  ].join('; ')
  const context = {
    pipeline: name,
    version: String(head.number),
    tables: differences.map(({ table }) => table),
    added: differences.filter(({ isNew }) => isNew).map(({ table }) => table),
  }
  if (wasOurs)
    return new LakeError('code.superseded', `other code has taken ${name} over: ${reasons}`, {
      context,
      fix: 'Stop this process, or roll the pipeline back to its code: then it goes on by itself.',
    })
  return new LakeError('code.changed', `the definition is not the one that made the tables of ${name}: ${reasons}`, {
    context,
    fix: `Rebuild what changed: kappalake replay start ${name}. Or keep the rows and go on with the new code from here: kappalake start --accept-code.`,
  })
}

function codesText({ tables }: Version): string {
  return JSON.stringify(Object.entries(tables).map(([name, { code }]) => [name, code]))
}
