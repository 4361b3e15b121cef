import { DeletedRows, type DataFile, type WritePlan } from '../lake/table.ts'
import type { ConcatenateInput, Filling, TableWork } from './keys.ts'
import type { TablePlan } from './lane.ts'

/** One call of `TableWork` as it is sent to a lane: structured clone keeps no classes, so bitmaps go as their words. */
export type WorkCall =
  | { readonly method: 'readKeys'; readonly plan: TablePlan; readonly file: DataFile }
  | { readonly method: 'concatenate'; readonly plan: WritePlan; readonly inputs: readonly PlainInput[] }
  | {
      readonly method: 'fill'
      readonly plan: WritePlan
      readonly file: DataFile
      readonly fillings: readonly Filling[]
      readonly from: WritePlan | undefined
    }

export interface PlainInput extends Omit<ConcatenateInput, 'deleted'> {
  readonly deletedWords: Uint32Array<ArrayBuffer>
}

/** `TableWork` whose calls go elsewhere. `send` resolves with what `perform` gave there. */
export function remoteWork(send: (call: WorkCall) => Promise<unknown>): TableWork {
  const sent = async <T>(call: WorkCall): Promise<T> => (await send(call)) as T
  return {
    readKeys: (plan, file) => sent({ method: 'readKeys', plan, file }),
    concatenate: (plan, inputs) => sent({ method: 'concatenate', plan, inputs: inputs.map(plain) }),
    fill: (plan, file, fillings, from) => sent({ method: 'fill', plan, file, fillings, from }),
  }
}

/** Does what was sent. */
export function perform(work: TableWork, call: WorkCall): Promise<unknown> {
  switch (call.method) {
    case 'readKeys':
      return work.readKeys(call.plan, call.file)
    case 'concatenate':
      return work.concatenate(
        call.plan,
        call.inputs.map(({ deletedWords, ...input }) => ({
          ...input,
          deleted: new DeletedRows(input.file.recordCount, deletedWords),
        })),
      )
    case 'fill':
      return work.fill(call.plan, call.file, call.fillings, call.from)
  }
}

/** A copy: bits that are set while the call waits for a lane are not part of it. */
function plain({ deleted, ...input }: ConcatenateInput): PlainInput {
  return { ...input, deletedWords: deleted.words.slice() }
}
