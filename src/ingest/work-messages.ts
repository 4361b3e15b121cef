import { DeletedRows, type DataFile, type WritePlan } from '../lake/table.ts'
import type { Archive, ArchiveQuestion, ArchiveWork } from './archive/archive.ts'
import { arrivedKeys } from './key-files.ts'
import type {
  ChangedRows,
  ChangesRequest,
  CompareRequest,
  CompareSide,
  ConcatenateInput,
  Filling,
  OffsetRange,
  TableWork,
} from './keys.ts'
import type { TablePlan } from './lane.ts'
import type { LetterCall } from './letters/letter-messages.ts'

/** One call of `TableWork` as it is sent to a lane: structured clone keeps no classes, so bitmaps go as their words. */
export type TableCall =
  | { readonly method: 'readKeys'; readonly plan: TablePlan; readonly files: readonly Plain<ChangedRows>[] }
  | {
      readonly method: 'rowsWithin'
      readonly plan: WritePlan
      readonly file: DataFile
      readonly ranges: readonly OffsetRange[]
    }
  | { readonly method: 'concatenate'; readonly plan: WritePlan; readonly inputs: readonly PlainInput[] }
  | {
      readonly method: 'fill'
      readonly plan: WritePlan
      readonly file: DataFile
      readonly fillings: readonly Filling[]
      readonly from: WritePlan | undefined
    }
  | { readonly method: 'changes'; readonly plan: WritePlan; readonly request: PlainRequest }
  | { readonly method: 'lookUp'; readonly archives: readonly Archive[]; readonly question: ArchiveQuestion }
  | { readonly method: 'compare'; readonly plan: WritePlan; readonly request: PlainCompareRequest }

/** What a lane is asked for beside its staging. */
export type WorkCall = TableCall | { readonly method: 'letters'; readonly plan: WritePlan; readonly call: LetterCall }

/** With the words of its bitmap. */
export type Plain<T extends ChangedRows> = Omit<T, 'deleted'> & { readonly deletedWords: Uint32Array<ArrayBuffer> }
export type PlainInput = Plain<ConcatenateInput>

export interface PlainRequest extends Omit<ChangesRequest, 'before' | 'after'> {
  readonly before: readonly Plain<ChangedRows>[]
  readonly after: readonly Plain<ChangedRows>[]
}

export interface PlainCompareRequest extends Omit<CompareRequest, 'before' | 'after'> {
  readonly before: PlainSide
  readonly after: PlainSide
}

interface PlainSide extends Omit<CompareSide, 'rows'> {
  readonly rows: readonly Plain<ChangedRows>[]
}

/** `TableWork` whose calls go elsewhere. `send` resolves with what `perform` gave there. */
export function remoteWork(send: (call: TableCall) => Promise<unknown>): TableWork & ArchiveWork {
  const sent = async <T>(call: TableCall): Promise<T> => (await send(call)) as T
  return {
    readKeys: async (plan, files) => arrivedKeys(await sent({ method: 'readKeys', plan, files: files.map(plain) })),
    rowsWithin: (plan, file, ranges) => sent({ method: 'rowsWithin', plan, file, ranges }),
    concatenate: (plan, inputs) => sent({ method: 'concatenate', plan, inputs: inputs.map(plain) }),
    fill: (plan, file, fillings, from) => sent({ method: 'fill', plan, file, fillings, from }),
    lookUp: (archives, question) => sent({ method: 'lookUp', archives, question }),
    changes: (plan, request) =>
      sent({
        method: 'changes',
        plan,
        request: { ...request, before: request.before.map(plain), after: request.after.map(plain) },
      }),
    compare: (request) =>
      sent({
        method: 'compare',
        plan: request.after.plan,
        request: { ...request, before: plainSide(request.before), after: plainSide(request.after) },
      }),
  }
}

/** Does what was sent. */
export function perform(work: TableWork & ArchiveWork, call: TableCall): Promise<unknown> {
  switch (call.method) {
    case 'readKeys':
      return work.readKeys(call.plan, call.files.map(whole))
    case 'rowsWithin':
      return work.rowsWithin(call.plan, call.file, call.ranges)
    case 'concatenate':
      return work.concatenate(call.plan, call.inputs.map(whole))
    case 'fill':
      return work.fill(call.plan, call.file, call.fillings, call.from)
    case 'lookUp':
      return work.lookUp(call.archives, call.question)
    case 'changes': {
      const { before, after, ...rest } = call.request
      return work.changes(call.plan, { ...rest, before: before.map(whole), after: after.map(whole) })
    }
    case 'compare': {
      const { before, after, ...rest } = call.request
      return work.compare({ ...rest, before: wholeSide(before), after: wholeSide(after) })
    }
  }
}

/** A copy: bits that are set while the call waits for a lane are not part of it. */
function plain<T extends ChangedRows>({ deleted, ...rows }: T): Plain<T> {
  return { ...rows, deletedWords: deleted.words.slice() }
}

function whole<T extends Plain<ChangedRows>>({ deletedWords, ...rows }: T): Omit<T, 'deletedWords'> & ChangedRows {
  return { ...rows, deleted: new DeletedRows(rows.file.recordCount, deletedWords) }
}

function plainSide({ plan, rows }: CompareSide): PlainSide {
  return { plan, rows: rows.map(plain) }
}

function wholeSide({ plan, rows }: PlainSide): CompareSide {
  return { plan, rows: rows.map(whole) }
}
