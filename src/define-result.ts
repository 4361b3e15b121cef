import { readAggregate } from './define-aggregate.ts'
import { leaf, problem } from './define-fields.ts'
import { parseColumn } from './define-type.ts'
import type { AggregateDefinition, ComputedResult, WindowDefinition } from './define-window.ts'

/** One column of results without its name: an aggregate, or what is computed from results. */
type WrittenResult = Omit<AggregateDefinition, 'name'> | Omit<ComputedResult, 'name'>

/** A type, perhaps with arguments, and `=`; an aggregate has its brackets, then nothing or a condition. */
const COMPUTED = /^[A-Za-z_]\w*\s*(\([^()]*\)|<[^=]*>)?\s*(required\s*)?=/

/** What stands in `select`: `sum(amount)`, or `string = 'total: ' || total`. Throws `config.invalid`. */
export const resultText = leaf('an aggregate such as count(), or a computed result such as double = total / n', read)

/** Results in the order in which they are written, those that are computed behind the aggregates. */
export function splitResults(
  select: Readonly<Record<string, WrittenResult>>,
): Pick<WindowDefinition, 'select' | 'computed'> {
  const all = Object.entries(select).map(([name, result]) => ({ name, ...result }))
  return {
    select: all.filter((each): each is AggregateDefinition => 'fn' in each),
    computed: all.filter((each): each is ComputedResult => 'as' in each),
  }
}

function read(text: string): WrittenResult {
  if (!COMPUTED.test(text)) return readAggregate(text)
  const { type, as, required } = parseColumn('', text)
  if (required === true) throw problem('a computed result is always optional', 'Remove "required".')
  return { type, as: as! }
}
