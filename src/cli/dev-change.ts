import { isDeepStrictEqual } from 'node:util'
import type { LoadedConfig } from '../config.ts'
import type { PipelineDefinition } from '../define.ts'
import { tableCodes } from '../ingest/pipeline.ts'
import type { ReplayStatus } from '../replay-status.ts'

type Lake = Pick<LoadedConfig, 'definition' | 'settings' | 'sources'>

/** What a change of definition and settings asks for. */
export type DevChange =
  /** The same in other words. */
  | { readonly kind: 'nothing' }
  /** The lake is opened again; its tables are made as before. Names of settings, or parts of the definition. */
  | { readonly kind: 'settings'; readonly fields: readonly string[] }
  /** … and tables or windows are of other code: `pipeline.table`. */
  | { readonly kind: 'code'; readonly tables: readonly string[]; readonly pipelines: readonly string[] }

/** Pure. What is removed leaves its rows as they are: that is opened again, and nothing is rebuilt. */
export function changeOf(before: Lake, after: Lake): DevChange {
  const codes = codesOf(before)
  const changed = [...codesOf(after)].filter(([name, { code }]) => codes.get(name)?.code !== code)
  if (changed.length > 0)
    return {
      kind: 'code',
      tables: changed.map(([name]) => name),
      pipelines: [...new Set(changed.map(([, { pipeline }]) => pipeline))],
    }
  const fields = changedSettings(before, after)
  const isSame = isDeepStrictEqual(before.definition, after.definition)
  if (fields.length === 0 && isSame) return { kind: 'nothing' }
  return { kind: 'settings', fields: isSame ? fields : [...fields, 'pipelines'] }
}

function codesOf({ definition }: Lake): ReadonlyMap<string, { readonly pipeline: string; readonly code: string }> {
  const all = definition.pipelines.flatMap((pipeline) =>
    [...tableCodes(pipeline)].map(
      ([table, code]) => [`${pipeline.name}.${table}`, { pipeline: pipeline.name, code }] as const,
    ),
  )
  return new Map(all)
}

/** A key may be another one under the same name: then all that can be said is where. */
function changedSettings(before: Lake, after: Lake): readonly string[] {
  const names = [...new Set([...before.sources.keys(), ...after.sources.keys()])].toSorted()
  const changed = names.filter((name) => before.sources.get(name)?.value !== after.sources.get(name)?.value)
  if (changed.length > 0) return changed
  return isDeepStrictEqual(before.settings, after.settings) ? [] : ['http.keys']
}

/** What is done about a pipeline whose tables are of other code, and that may have a replay that is not over. */
export type RebuildStep =
  | { readonly kind: 'start' }
  /** One for this very definition. */
  | { readonly kind: 'go-on'; readonly replay: ReplayStatus }
  /** One for a definition that has changed since. */
  | { readonly kind: 'replace'; readonly replay: ReplayStatus }
  /** Somebody else's: it is theirs to end it. */
  | { readonly kind: 'wait'; readonly replay: ReplayStatus }

/** Pure. `open`: the replay of the pipeline that is not over. */
export function rebuildStep(definition: PipelineDefinition, open: ReplayStatus | undefined): RebuildStep {
  if (open === undefined) return { kind: 'start' }
  const isOurs = isDeepStrictEqual({ ...open.codes }, Object.fromEntries(tableCodes(definition)))
  if (open.options.mode === 'reprocess' && isOurs) return { kind: 'go-on', replay: open }
  return { kind: isByItself(open) && !isOurs ? 'replace' : 'wait', replay: open }
}

/** Whether nobody was to look at it before it takes the place of the live tables: `dev` starts no others. */
export function isByItself({ options }: ReplayStatus): boolean {
  return options.mode === 'reprocess' && options.autoCutover === 'always'
}
