import { hash } from 'node:crypto'
import { LakeError } from '../../error.ts'
import { MASK, type Redaction, type Redactions, type Salts } from '../../define-redact.ts'

/** What stands for a text: the same bytes are filled again with the next one. */
export type TextRule = (text: Uint8Array) => Uint8Array

const MASKED = Buffer.from(MASK)

/** What becomes of texts of a field; undefined: they are not kept. Throws `config.invalid` when a salt is not known. */
export function textRule(how: Redaction, salts: Salts): TextRule | undefined {
  if (how === 'drop') return undefined
  return how === 'mask' ? () => MASKED : hashed(how.hash, salts)
}

/** Hexadecimal digits of the SHA-256 of the salt and then the text: what SQL says as `sha256(salt || text)`. */
function hashed(name: string, salts: Salts): TextRule {
  if (!Object.hasOwn(salts, name))
    throw new LakeError('config.invalid', `salts.${name}: is missing`, { context: { salt: name } })
  const salt = Buffer.from(salts[name]!, 'utf8')
  let salted = Buffer.concat([salt, Buffer.alloc(1_024)])
  const digits = Buffer.alloc(HASH_BYTES)
  return (text) => {
    const length = salt.length + text.length
    if (length > salted.length) salted = Buffer.concat([salt, Buffer.alloc(2 * text.length)])
    salted.set(text, salt.length)
    digits.write(hash('sha256', salted.subarray(0, length), 'hex'), 'latin1')
    return digits
  }
}

export const HASH_BYTES = 64

/** Texts of JSON values that come into `_extra`. */
export type JsonRule = (raw: Uint8Array) => Uint8Array | undefined

/** By the name of a field: what its JSON value becomes, undefined when it is not kept. A null stays what it is. */
export function jsonRules(redact: Redactions, salts: Salts): ReadonlyMap<string, JsonRule> {
  return new Map(redact.map(([field, how]) => [field, jsonRule(how, salts)]))
}

function jsonRule(how: Redaction, salts: Salts): JsonRule {
  const rule = textRule(how, salts)
  if (rule === undefined) return () => undefined
  return (raw) => {
    if (raw[0] === NULL) return raw
    // A text counts as it is meant, anything else as it is written.
    const text = raw[0] === QUOTE ? Buffer.from(JSON.parse(Buffer.from(raw).toString('utf8')) as string) : raw
    return Buffer.from(`"${Buffer.from(rule(text)).toString('latin1')}"`, 'latin1')
  }
}

const NULL = 110
const QUOTE = 34
