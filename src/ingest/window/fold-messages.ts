import type { WindowDefinition } from '../../define-window.ts'
import type { TableDefinition } from '../../define.ts'
import type { ErrorMessage } from '../../error.ts'
import { DeletedRows, type DataFile, type WritePlan } from '../../lake/table.ts'
import type { StoreSettings } from '../../settings.ts'
import type { ConcatenateInput } from '../keys.ts'
import type { PlainInput } from '../work-messages.ts'
import { removeLocalFiles } from './partial-files.ts'
import type { FoldRequest, StoredRows, StoredSchemas, StoredSource, WindowFold } from './window.ts'

/** What a pipeline and its fold process say to each other: one call at a time, and its answer. */
export type ToFold =
  | {
      readonly kind: 'open'
      readonly windows: readonly WindowDefinition[]
      readonly tables: readonly TableDefinition[]
    }
  | { readonly kind: 'call'; readonly call: FoldCall }

export type FromFold =
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly error: ErrorMessage }

/** Handed to the process when it starts, as JSON in its environment. */
export interface FoldSettings {
  readonly store: StoreSettings
  readonly memoryBytesMax: number
}

/** One call of `WindowFold` as it is sent: structured clone keeps no classes, so bitmaps go as their words. */
export type FoldCall =
  | {
      readonly method: 'load'
      readonly window: string
      readonly results: readonly PlainStoredRows[]
      readonly state: readonly PlainStoredRows[]
      readonly watermarkMs: number | undefined
      readonly schemas: StoredSchemas | undefined
      readonly source: PlainSource | undefined
    }
  | { readonly method: 'fold'; readonly window: string; readonly request: FoldRequest }
  | {
      readonly method: 'moved'
      readonly window: string
      readonly table: 'results' | 'state'
      readonly inputs: readonly PlainInput[]
      readonly output: DataFile | undefined
    }

interface PlainSource {
  readonly plan: WritePlan
  readonly rows: readonly PlainStoredRows[]
  readonly deletes: { readonly plan: WritePlan; readonly rows: readonly PlainStoredRows[] } | undefined
}

interface PlainStoredRows {
  readonly file: DataFile
  readonly deletedWords: Uint32Array<ArrayBuffer>
}

/** `WindowFold` whose calls go elsewhere. `send` resolves with what `performFold` gave there. */
export function remoteFold(send: (call: FoldCall) => Promise<unknown>, close: () => Promise<void>): WindowFold {
  const sent = async <T>(call: FoldCall): Promise<T> => (await send(call)) as T
  return {
    load: (window, { results, state, watermarkMs, schemas, source }) =>
      sent({
        method: 'load',
        window,
        results: results.map(plain),
        state: state.map(plain),
        watermarkMs,
        schemas,
        source: source && {
          plan: source.plan,
          rows: source.rows.map(plain),
          deletes: source.deletes && { plan: source.deletes.plan, rows: source.deletes.rows.map(plain) },
        },
      }),
    fold: (window, request) => sent({ method: 'fold', window, request }),
    moved: (window, table, inputs, output) =>
      sent({ method: 'moved', window, table, inputs: inputs.map(plain), output }),
    // They lie on this machine, and the process that folds may be busy, or gone.
    discard: removeLocalFiles,
    close,
  }
}

/** Does what was sent. */
export function performFold(fold: WindowFold, call: FoldCall): Promise<unknown> {
  switch (call.method) {
    case 'load':
      return fold.load(call.window, {
        results: call.results.map(whole),
        state: call.state.map(whole),
        watermarkMs: call.watermarkMs,
        ...(call.schemas === undefined ? {} : { schemas: call.schemas }),
        ...(call.source === undefined ? {} : { source: wholeSource(call.source) }),
      })
    case 'fold':
      return fold.fold(call.window, call.request)
    case 'moved':
      return fold.moved(call.window, call.table, call.inputs.map(whole), call.output)
  }
}

/** A copy: bits that are set while the call waits are not part of it. */
function plain<T extends StoredRows | ConcatenateInput>({
  deleted,
  ...rest
}: T): Omit<T, 'deleted'> & { readonly deletedWords: Uint32Array<ArrayBuffer> } {
  return { ...rest, deletedWords: deleted.words.slice() }
}

function wholeSource({ plan, rows, deletes }: PlainSource): StoredSource {
  return {
    plan,
    rows: rows.map(whole),
    deletes: deletes && { plan: deletes.plan, rows: deletes.rows.map(whole) },
  }
}

function whole<T extends PlainStoredRows>({
  deletedWords,
  ...rest
}: T): Omit<T, 'deletedWords'> & { readonly deleted: DeletedRows } {
  return { ...rest, deleted: new DeletedRows(rest.file.recordCount, deletedWords) }
}
