import type { FieldNames, Plan, PlanNode } from './plan.ts'

/**
 * How a producer writes its records: the order of keys, those included that no column has, and blanks behind colons and
 * commas. A guess that makes reading fast; what a record comes to does not depend on it.
 */
export interface Shape {
  /** Field numbers, and raw keys that no column has (of the record's own object only), per object. */
  readonly order: ReadonlyMap<FieldNames, readonly (number | string)[]>
  readonly colon: '' | ' '
  readonly comma: '' | ' '
}

/** Objects with more keys are not worth a line of code for each. */
export const SHAPE_KEYS_MAX = 256

/** As the columns are declared, without white space. */
export function declaredShape(plan: Plan): Shape {
  return shapeWith(plan, { colon: false, comma: false }, () => [])
}

/** As the last records were written. */
export function lastShape(plan: Plan, blanks: { readonly colon: boolean; readonly comma: boolean }): Shape {
  return shapeWith(plan, blanks, (fields) => (fields.order.length < SHAPE_KEYS_MAX ? fields.order : []))
}

function shapeWith(
  plan: Plan,
  blanks: { readonly colon: boolean; readonly comma: boolean },
  seen: (fields: FieldNames) => readonly (number | string)[],
): Shape {
  const order = new Map<FieldNames, readonly (number | string)[]>([
    [plan.fields, complete(seen(plan.fields), plan.root)],
  ])
  const visit = (nodes: readonly PlanNode[]): void => {
    for (const { type, fields, children } of nodes) {
      if (type.kind !== 'struct' || fields === undefined) continue
      order.set(
        fields,
        complete(
          seen(fields).filter((key) => typeof key === 'number'),
          children,
        ),
      )
      visit(children)
    }
  }
  visit(plan.root)
  return { order, colon: blanks.colon ? ' ' : '', comma: blanks.comma ? ' ' : '' }
}

/** Fields that were absent go behind the one that is declared before them. */
function complete(seen: readonly (number | string)[], nodes: readonly PlanNode[]): readonly (number | string)[] {
  const order = [...seen]
  nodes.forEach((_, k) => {
    if (!order.includes(k)) order.splice(k === 0 ? 0 : order.indexOf(k - 1) + 1, 0, k)
  })
  return order
}

/** A text that is equal for equal shapes. */
export function shapeText({ order, colon, comma }: Shape): string {
  return JSON.stringify([[...order.values()], colon, comma])
}
