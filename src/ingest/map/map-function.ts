import vm from 'node:vm'
import { LakeError } from '../../error.ts'
import { DRIVER, PRELUDE } from './sandbox.ts'

/** What became of a value: another one, none (`undefined`), or why it fails. */
export type Mapped = { readonly text: string | undefined } | { readonly failure: string }

/**
 * A table's function, in a realm of its own. It may keep what it likes in variables, which no check sees, but there is
 * nothing in its reach that is not the same in a replay. Throws `transform.map_refused` for what is a fault of the code.
 */
export class MapRunner {
  readonly #field: string
  readonly #run: (text: string) => string | undefined

  /** `text` is an expression that gives the function; `field` names where it is defined. */
  constructor(field: string, text: string) {
    this.#field = field
    const context = vm.createContext(Object.create(null) as object, {
      name: field,
      codeGeneration: { strings: false, wasm: false },
      // A promise has no time to come about.
      microtaskMode: 'afterEvaluate',
    })
    try {
      vm.runInContext(PRELUDE, context)
      const driver = vm.runInContext(`(${DRIVER})`, context) as (map: unknown) => (text: string) => string | undefined
      this.#run = driver(vm.runInContext(`'use strict';${text}`, context, { filename: field }))
    } catch (error) {
      throw this.#refused(error)
    }
  }

  /** `text` is a JSON object. */
  map(text: string): Mapped {
    try {
      return { text: this.#run(text) }
    } catch (error) {
      const { name } = errorOf(error)
      if (name === 'NotRepeatable' || name === 'ReferenceError' || name === 'EvalError') throw this.#refused(error)
      return { failure: `${name}: ${errorOf(error).message}` }
    }
  }

  #refused(error: unknown): LakeError {
    const { name, message } = errorOf(error)
    const isUnknown = name === 'ReferenceError'
    return new LakeError('transform.map_refused', `${this.#field}: ${message}`, {
      context: { field: this.#field },
      fix: isUnknown
        ? 'Only the text of a function goes to the lanes: put it, with what it needs, into a file, and name that: map: ./clean.ts. There is nothing of Node in its reach.'
        : 'Compute the row from the record alone; "processed at" is the column _timestamp.',
    })
  }
}

/** Errors are of another realm: of no class that is known here. */
function errorOf(error: unknown): { readonly name: string; readonly message: string } {
  const { name, message } = (typeof error === 'object' && error !== null ? error : {}) as Partial<Error>
  if (typeof name === 'string' && typeof message === 'string') return { name, message }
  return { name: 'Error', message: 'threw what is no error' }
}
