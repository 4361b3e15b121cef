import { APPEND, STORED, type PipelineDefinition } from '../../src/define.ts'
import { tablesOf, type Plan } from './plan.ts'

export const PIPELINE = 'shop'

/** The pipeline of a plan; `isNew` is the same with other code, of all tables or of those that a replay is about. */
export function definitionOf(plan: Plan, isNew: boolean): PipelineDefinition {
  return {
    name: PIPELINE,
    onDataLoss: plan.onDataLoss,
    windows: [],
    tables: tablesOf(plan, isNew).map(({ name, topic, onError, keyed, drops }) => ({
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
      eventTime: undefined,
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
