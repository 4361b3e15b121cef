import vm from 'node:vm'
import * as z from 'zod'
import type { TableDefinition } from './define.ts'
import { invalidField, strict, type FieldPath } from './define-fields.ts'

/**
 * From a record's value, as its JSON is read, to another value, or null: then there is no row. Whole numbers beyond 2^53
 * are bigint. Any, since what a record holds is for its reader to know.
 */
export type MapFunction = (row: Record<string, any>) => object | null

/** A function that stands by itself, or a file whose default export it is, relative to that of the definition. */
export type MapDefinition =
  | { readonly kind: 'text'; /** An expression that gives the function. */ readonly text: string }
  | { readonly kind: 'file'; readonly file: string }

export const mapSchema = z.union([z.string().min(1), strict({ inline: z.string().min(1) })], {
  error: "must be a file, such as ./clean.ts, or {inline: '(row) => …'}",
})

/** The written form of what a program gives. A function is its text: nothing around it goes along. */
export function writtenMap(given: unknown): unknown {
  return typeof given === 'function' ? { inline: given.toString() } : given
}

export function toMap(given: z.output<typeof mapSchema> | undefined, at: FieldPath): { readonly map?: MapDefinition } {
  if (given === undefined) return {}
  if (typeof given === 'string') {
    if (/\.m?[jt]s$/.test(given)) return { map: { kind: 'file', file: given } }
    throw invalidField(
      [...at, 'map'],
      `"${given}" is no file of a function`,
      'Name a .ts or .js file whose default export is the function.',
    )
  }
  return { map: { kind: 'text', text: functionText(given.inline, [...at, 'map']) } }
}

/** Throws `config.invalid`. */
export function checkMap({ map, value }: TableDefinition, at: FieldPath): void {
  if (map === undefined || value === 'json') return
  throw invalidField(
    [...at, 'map'],
    `a function is for values in JSON, not in ${value}`,
    'Remove "map": computed columns and "where" work with every format.',
  )
}

/** A function that was written as a method is an expression only behind a word. */
function functionText(inline: string, at: FieldPath): string {
  const text = [inline, `function ${inline}`].map((each) => `(${each}\n)`).find(isExpression)
  if (text === undefined)
    throw invalidField(
      at,
      'is not the text of a function',
      'Write an arrow function: (row) => …; no native or bound one.',
    )
  if (/^\(\s*(async\b|function\s*\*|function\s+\*)/.test(text))
    throw invalidField(at, 'is asynchronous, or a generator', 'A row is computed from its record alone, at once.')
  return text
}

/** Whether a text can be read as one; nothing of it is run. */
function isExpression(text: string): boolean {
  try {
    const script = new vm.Script(`'use strict';${text}`)
    return script instanceof vm.Script
  } catch {
    return false
  }
}
