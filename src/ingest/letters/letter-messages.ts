import { DeletedRows, type WritePlan } from '../../lake/table.ts'
import type { FindRequest, LaterRequest, LetterRows, LetterWork, RestageRequest } from './letters.ts'

/** One call of `LetterWork` as it is sent to a lane: bitmaps go as their words. */
export type LetterCall =
  | { readonly kind: 'find'; readonly request: PlainFind }
  | { readonly kind: 'restage'; readonly request: RestageRequest }
  | { readonly kind: 'settle'; readonly letters: readonly LetterRows[]; readonly status: 'discarded' }
  | { readonly kind: 'offsetsOf'; readonly rows: readonly LetterRows[] }
  | { readonly kind: 'later'; readonly request: LaterRequest }

interface PlainFind extends Omit<FindRequest, 'files'> {
  readonly files: readonly {
    readonly file: FindRequest['files'][number]['file']
    readonly words: Uint32Array<ArrayBuffer>
  }[]
}

/** `LetterWork` whose calls go elsewhere. `send` resolves with what `performLetters` gave there. */
export function remoteLetters(send: (plan: WritePlan, call: LetterCall) => Promise<unknown>): LetterWork {
  const sent = async <T>(plan: WritePlan, call: LetterCall): Promise<T> => (await send(plan, call)) as T
  return {
    find: (plan, { files, ...request }) => {
      const plain = files.map(({ file, deleted }) => ({ file, words: deleted.words.slice() }))
      return sent(plan, { kind: 'find', request: { ...request, files: plain } })
    },
    restage: (request) => sent(request.plan.deadLetters, { kind: 'restage', request }),
    settle: (plan, letters, status) => sent(plan, { kind: 'settle', letters, status }),
    offsetsOf: (plan, rows) => sent(plan, { kind: 'offsetsOf', rows }),
    later: (request) => sent(request.plan.data, { kind: 'later', request }),
  }
}

/** Does what was sent. */
export function performLetters(work: LetterWork, plan: WritePlan, call: LetterCall): Promise<unknown> {
  switch (call.kind) {
    case 'find': {
      const files = call.request.files.map(({ file, words }) => ({
        file,
        deleted: new DeletedRows(file.recordCount, words),
      }))
      return work.find(plan, { ...call.request, files })
    }
    case 'restage':
      return work.restage(call.request)
    case 'settle':
      return work.settle(plan, call.letters, call.status)
    case 'offsetsOf':
      return work.offsetsOf(plan, call.rows)
    case 'later':
      return work.later(call.request)
  }
}
