import { APPEND, type PipelineDefinition } from '../../src/define.ts'
import type { Plan } from './plan.ts'

export const PIPELINE = 'shop'

/** The pipeline of a plan; `isNew` is the same with other code, as a deployment brings it. */
export function definitionOf(plan: Plan, isNew: boolean): PipelineDefinition {
  return {
    name: PIPELINE,
    onDataLoss: plan.onDataLoss,
    tables: plan.tables.map(({ name, topic, onError }) => ({
      kind: 'table',
      name,
      topic,
      value: 'json',
      startAt: plan.startAt,
      columns: [{ name: 'v', type: { kind: 'long' } }],
      eventTime: undefined,
      partitionBy: [],
      onError,
      unknown: isNew ? 'fail' : 'ignore',
      ...APPEND,
    })),
  }
}
