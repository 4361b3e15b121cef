/**
 * What runs before a function, in a realm of its own: there is nothing of Node in it, only the language. What would be
 * another value in a replay says so when it is asked. An error of the name `NotRepeatable` ends the pipeline, since it is a fault of the code
 * and of no record.
 */
export const PRELUDE = `'use strict';
{
  const refuse = (what) => () => {
    const error = new Error(what + ' gives another value in a replay')
    error.name = 'NotRepeatable'
    throw error
  }
  const now = refuse('the time of now')
  const RealDate = Date
  const FixedDate = function Date(...parts) {
    if (new.target === undefined || parts.length === 0) now()
    return Reflect.construct(RealDate, parts, new.target === FixedDate ? RealDate : new.target)
  }
  FixedDate.prototype = RealDate.prototype
  FixedDate.prototype.constructor = FixedDate
  FixedDate.parse = RealDate.parse
  FixedDate.UTC = RealDate.UTC
  FixedDate.now = refuse('Date.now')
  globalThis.Date = FixedDate
  Math.random = refuse('Math.random')
  const refused = (name) => {
    const trap = refuse(name)
    return new Proxy(function () {}, { get: trap, has: trap, apply: trap, construct: trap })
  }
  for (const name of ['Intl', 'WebAssembly', 'Atomics', 'SharedArrayBuffer', 'WeakRef', 'FinalizationRegistry', 'console'])
    globalThis[name] = refused(name)
  for (const type of [Date, Number, BigInt, Array, String])
    for (const name of Object.getOwnPropertyNames(type.prototype))
      if (/^(toLocale|localeCompare)/.test(name)) type.prototype[name] = refuse(type.name + '.' + name)
  for (const name of ['escape', 'unescape']) delete globalThis[name]
}`

/**
 * Around a function: text in, text out; undefined for null. Numbers that a double would round are bigint, and what JSON
 * cannot say (NaN, a function) is an error instead of a null.
 */
export const DRIVER = `(map) => {
  'use strict'
  if (typeof map !== 'function') throw new TypeError('is ' + typeof map + ', and no function')
  const { parse, stringify } = JSON
  const [MANY, TOKENS] = [/\\d{16}/, /("(?:[^"\\\\]|\\\\.)*")(\\s*:)?|-?\\d+(?:\\.\\d+)?(?:[eE][+-]?\\d+)?/g]
  const marked = (token, text, colon) => {
    if (colon !== undefined) return token
    if (text !== undefined) return text.startsWith('"\\\\u0000') ? '"\\\\u0000s' + text.slice(1) : text
    return /^-?\\d+$/.test(token) && !Number.isSafeInteger(Number(token)) ? '"\\\\u0000n' + token + '"' : token
  }
  const unmarked = (_, value) => {
    if (typeof value !== 'string' || value[0] !== '\\u0000') return value
    return value[1] === 'n' ? BigInt(value.slice(2)) : value.slice(2)
  }
  const read = (text) => (MANY.test(text) ? parse(text.replace(TOKENS, marked), unmarked) : parse(text))
  const write = (value, depth) => {
    if (value === null || typeof value === 'boolean' || typeof value === 'string') return stringify(value)
    if (typeof value === 'bigint') return String(value)
    if (typeof value === 'number') {
      if (!Number.isFinite(value)) throw new TypeError('gives the number ' + value)
      return stringify(value)
    }
    if (typeof value !== 'object') throw new TypeError('gives a ' + typeof value)
    if (depth > 100) throw new TypeError('gives a value that is nested deeper than 100')
    if (typeof value.toJSON === 'function') return write(value.toJSON(), depth + 1)
    if (Array.isArray(value)) return '[' + value.map((item) => write(item, depth + 1)).join(',') + ']'
    const fields = Object.keys(value).filter((key) => value[key] !== undefined)
    return '{' + fields.map((key) => stringify(key) + ':' + write(value[key], depth + 1)).join(',') + '}'
  }
  return (text) => {
    const row = map(read(text))
    if (row === null) return undefined
    if (typeof row !== 'object' || Array.isArray(row)) throw new TypeError('gives ' + (Array.isArray(row) ? 'a list' : typeof row) + ', and neither a row nor null')
    if (typeof row.then === 'function') throw new TypeError('gives a promise, and neither a row nor null')
    return write(row, 0)
  }
}`
