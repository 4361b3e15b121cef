import { isUtf8 } from 'node:buffer'
import type { TableDefinition } from '../../define.ts'
import { RECORD_BYTES_MAX } from './codes.ts'
import { OwnText } from './column-builder.ts'
import { JsonText, MISFIT } from './json-text.ts'

/**
 * What may be kept of a record that is no row, of a table that redacts: its value without the redacted fields, whatever
 * stands for them in rows, so that a retry hashes nothing twice. A record that is no row may be of any shape, so they go
 * wherever they stand. What cannot be read is not kept, and neither is what has no fields.
 */
export class RedactedRecord {
  readonly #fields: ReadonlySet<string>
  /** Fields whose rows may be written as a text. */
  readonly #rows: ReadonlySet<string>
  readonly #own = new OwnText()
  readonly #text = new JsonText(this.#own)
  #kept: Uint8Array[] = []

  /** Undefined when the table redacts nothing. */
  static of({ redact, value }: Pick<TableDefinition, 'redact' | 'value'>): RedactedRecord | undefined {
    return redact === undefined ? undefined : new RedactedRecord(new Set(redact.map(([field]) => field)), value)
  }

  private constructor(fields: ReadonlySet<string>, value: TableDefinition['value']) {
    this.#fields = fields
    this.#rows = new Set(value === 'debezium' ? ['before', 'after', 'payload'] : [])
  }

  /** The value's bytes without the redacted fields, and without white space; undefined when nothing may be kept. */
  bytes(bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
    if (end - start > RECORD_BYTES_MAX || !isUtf8(bytes.subarray(start, end))) return undefined
    const text = this.#text
    text.open(bytes, 0, start, end)
    this.#kept = []
    this.#own.used = 0
    try {
      const c = text.token()
      if (c !== OBJECT && c !== ARRAY) return undefined
      this.#value()
      text.finish()
      return Buffer.concat(this.#kept)
    } catch (error) {
      if (error !== MISFIT) throw error
      return undefined
    } finally {
      this.#kept = []
    }
  }

  #value(): void {
    const text = this.#text
    const c = text.token()
    if (c === OBJECT) return this.#object()
    if (c === ARRAY) return this.#array()
    const { at } = text
    text.skip()
    this.#keep(at, text.at)
  }

  #object(): void {
    const text = this.#text
    text.enter()
    this.#kept.push(OPEN)
    let isFirst = true
    if (text.token() !== OBJECT_END)
      for (;;) {
        if (text.token() !== QUOTE) text.unexpected('a key')
        const { at } = text
        text.string()
        const until = text.at
        const name = Buffer.from(text.textBytes.subarray(text.textStart, text.textEnd)).toString('utf8')
        this.#own.used = 0
        text.colon()
        const isText = text.token() === QUOTE
        if (this.#fields.has(name) || (isText && this.#rows.has(name))) text.skip()
        else {
          if (!isFirst) this.#kept.push(COMMA)
          isFirst = false
          this.#keep(at, until)
          this.#kept.push(COLON)
          this.#value()
        }
        const c = text.token()
        if (c === OBJECT_END) break
        if (c !== 44) text.unexpected('a comma or }')
        text.at++
      }
    text.leave()
    this.#kept.push(CLOSE)
  }

  #array(): void {
    const text = this.#text
    text.enter()
    this.#kept.push(OPEN_LIST)
    if (text.token() !== ARRAY_END)
      for (let k = 0; ; k++) {
        if (k > 0) this.#kept.push(COMMA)
        this.#value()
        const c = text.token()
        if (c === ARRAY_END) break
        if (c !== 44) text.unexpected('a comma or ]')
        text.at++
      }
    text.leave()
    this.#kept.push(CLOSE_LIST)
  }

  #keep(from: number, to: number): void {
    this.#kept.push(this.#text.bytes.subarray(from, to))
  }
}

const [OBJECT, OBJECT_END, ARRAY, ARRAY_END, QUOTE] = [123, 125, 91, 93, 34] as const
const [OPEN, CLOSE] = [Buffer.from('{'), Buffer.from('}')]
const [OPEN_LIST, CLOSE_LIST] = [Buffer.from('['), Buffer.from(']')]
const [COMMA, COLON] = [Buffer.from(','), Buffer.from(':')]
