import { SYSTEM_COLUMNS } from '../../src/batch.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import { APPEND, STORED, type PipelineDefinition } from '../../src/define.ts'
import { codeHash, windowCodeHash } from '../../src/define-code.ts'
import { tablesOf, type Plan, type SimWindow } from './plan.ts'

export const PIPELINE = 'shop'

/** The pipeline of a plan; `isNew` is the same with other code, of all tables or of those that a replay is about. */
export function definitionOf(plan: Plan, isNew: boolean): PipelineDefinition {
  return {
    name: PIPELINE,
    onDataLoss: plan.onDataLoss,
    windows: tablesOf(plan, isNew).flatMap(({ name, windows }) => windows.map((window) => windowOf(window, name))),
    tables: tablesOf(plan, isNew).map(({ name, topic, onError, keyed, drops, windows, idleAfterMs }) => ({
      kind: 'table',
      name,
      topic,
      value: 'json',
      startAt: plan.startAt,
      columns: [
        { name: 'v', type: { kind: 'string' } },
        { name: 'k', type: { kind: 'string' }, ...(keyed === undefined ? {} : { required: true }) },
        { name: 'n', type: { kind: 'long' } },
        { name: 'a', type: { kind: 'string' } },
        { name: 'b', type: { kind: 'string' } },
      ],
      eventTime:
        windows.length === 0
          ? undefined
          : {
              column: SYSTEM_COLUMNS.timestamp,
              unit: 'ms',
              outOfOrdernessMs: windows[0]!.boundMs,
              idleAfterMs,
              maxFutureSkewMs: 300_000,
            },
      partitionBy: [],
      onError,
      ...STORED,
      // What is left out, the stand-in for the encoder knows; to production code it is some other code.
      unknown: (plan.replay === undefined ? isNew : drops !== undefined) ? 'fail' : 'ignore',
      ...(keyed === undefined
        ? APPEND
        : {
            key: ['k'],
            recordKey: 'string',
            version: keyed.isVersioned ? 'n' : undefined,
            missing: keyed.isKeeping ? 'keep' : 'null',
            onTruncate: keyed.isTruncated ? 'apply' : 'stop',
          }),
    })),
  }
}

/** The hash of the code that makes a table or a window, of which `name` may be a companion. */
export function codeOf({ tables, windows }: PipelineDefinition, name: string): string {
  const owner = name.replace(/__.*/, '')
  const table = tables.find((each) => each.name === owner)
  if (table !== undefined) return codeHash(table)
  const window = windows.find((each) => each.name === owner)!
  return windowCodeHash(
    window,
    tables.find((each) => each.name === window.source)!,
  )
}

/** Its group is that of `groupOf`, which no column is: what matters of it here are the names and places of its tables. */
function windowOf({ name, kind, input, sizeMs, latenessMs }: SimWindow, source: string): WindowDefinition {
  return {
    kind: 'window',
    name,
    source,
    window: kind === 'session' ? { kind, gapMs: sizeMs } : { kind, sizeMs, offsetMs: 0 },
    allowedLatenessMs: latenessMs,
    input,
    groupBy: ['v'],
    nullGroup: 'keep',
    where: undefined,
    select: [{ name: 'rows', fn: 'count', column: undefined, n: undefined, where: undefined }],
    computed: [],
    emit: 'update',
    earlyMs: 0,
    openRowsMax: 1_000_000,
    oldValuesMax: 1_000_000,
    retainMs: undefined,
    to: undefined,
  }
}
