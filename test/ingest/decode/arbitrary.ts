import * as fc from 'fast-check'
import type { Column, ColumnType } from '../../../src/batch.ts'

/** Random columns, and JSON texts that mostly fit them. */
export function columnsArbitrary(): fc.Arbitrary<readonly Column[]> {
  return fields(typeArbitrary(2), 1, 6)
}

const name = fc.oneof(
  { weight: 6, arbitrary: fc.stringMatching(/^[a-z]{1,9}$/) },
  fc.constantFrom('order id', 'größe', '名', 'a"b', 'c\\d', "q'q", '12', '3', 'x.y', 'element', 'key', '_extra2'),
)

function fields(type: fc.Arbitrary<ColumnType>, minLength: number, maxLength: number): fc.Arbitrary<readonly Column[]> {
  return fc.uniqueArray(
    fc.record({ name, type, required: fc.constantFrom(false, false, false, true) }),
    // DuckDB's names are equal when they differ by case alone; a definition refuses such columns.
    { minLength, maxLength, selector: (column) => column.name.toLowerCase() },
  )
}

function typeArbitrary(depth: number): fc.Arbitrary<ColumnType> {
  const unit = fc.constantFrom('s', 'ms', 'us', undefined)
  const scalars: fc.Arbitrary<ColumnType>[] = [
    fc.constantFrom(
      ...(['boolean', 'int', 'long', 'float', 'double', 'string', 'string', 'binary', 'date', 'uuid'] as const).map(
        (kind) => ({ kind }),
      ),
    ),
    fc
      .tuple(fc.constantFrom(1, 4, 5, 9, 10, 18, 19, 38), fc.nat(38))
      .map(([precision, scale]) => ({ kind: 'decimal', precision, scale: Math.min(scale, precision) })),
    fc.constant({ kind: 'enum', symbols: ['new', 'payé', 'a symbol of more than twelve'] }),
    fc
      .tuple(fc.constantFrom('timestamp', 'timestamptz'), unit)
      .map(([kind, u]) => (u === undefined ? { kind } : { kind, unit: u }) as ColumnType),
  ]
  if (depth === 0) return fc.oneof(...scalars)
  const below = typeArbitrary(depth - 1)
  return fc.oneof(
    ...scalars.map((arbitrary) => ({ weight: 3, arbitrary })),
    { weight: 1, arbitrary: below.map((element) => ({ kind: 'list', element }) as const) },
    { weight: 1, arbitrary: below.map((value) => ({ kind: 'map', value }) as const) },
    { weight: 2, arbitrary: fields(below, 1, 4).map((list) => ({ kind: 'struct', fields: list }) as const) },
  )
}

export const plainText = fc.oneof(
  fc.string({ maxLength: 6 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.constantFrom('', 'ÿ', '\u0000', 'exactly12byt', 'thirteen byte', '😀～', 'x'.repeat(300), '\ud7ff\ue000'),
)

const digits = fc.oneof(
  fc.integer().map(String),
  fc.bigInt({ min: -(2n ** 66n), max: 2n ** 66n }).map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => JSON.stringify(n)),
  fc.tuple(fc.integer({ min: -9999, max: 9999 }), fc.nat(99999)).map(([a, b]) => `${a}.${b}`),
  fc.constantFrom(
    '0',
    '-0',
    '-0.0',
    '1e2',
    '1E+2',
    '10e-1',
    '1.50',
    '2147483648',
    '-2147483648',
    '9223372036854775807',
  ),
  fc.constantFrom('-9223372036854775809', '1e400', '1e-400', '1e999999999', '0e999999999', '123456789012345678.5'),
  fc.constantFrom(
    '9007199254740993',
    '0.1000000000000000055',
    '999999999999999',
    '1760000000123',
    '-1.5',
    '3.5e38',
    '1e38',
  ),
)

function escaped(s: string): string {
  const units = Array.from({ length: s.length }, (_, k) => `\\u${s.charCodeAt(k).toString(16).padStart(4, '0')}`)
  return `"${units.join('')}"`
}

/** A JSON string, sometimes with more escapes than it needs. */
function quoted(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.oneof({ weight: 5, arbitrary: text.map((s) => JSON.stringify(s)) }, text.map(escaped))
}

const instants = fc.oneof(
  fc
    .date({ min: new Date('0000-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true })
    .map((date) => date.toISOString()),
  fc.constantFrom('2026-01-02T03:04:05', '2026-01-02 03:04:05.123456789+02:00', '1969-12-31t23:59:59.9999999z'),
  fc.constantFrom('2026-02-29T00:00:00Z', '2024-02-29T23:59:59-00:00', '2026-01-02T03:04:60Z', '2026-01-02T24:00:00Z'),
  fc.constantFrom('2026-01-02T03:04:05.Z', '2026-01-02T03:04Z', '0001-01-01T00:00:00+23:59', '2026-1-2T03:04:05Z'),
)

const dates = fc.oneof(
  fc
    .date({ min: new Date('0000-01-01T00:00:00Z'), max: new Date('9999-12-31T00:00:00Z'), noInvalidDate: true })
    .map((date) => date.toISOString().slice(0, 10)),
  fc.constantFrom('1900-02-29', '2000-02-29', '2026-13-01', '2026-00-10', '2026-04-31', '26-04-30', '2026-04-3x'),
)

const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value)),
  fc.constantFrom('NaN', 'tru', '01', '1.', '.5', '+1', '"\\x"', '"\\ud800"', '"\n"', '[1,]', '{"a":1,"a":2}', 'nul'),
)

/** A text for a value of the type: it fits most of the time. */
export function valueArbitrary(type: ColumnType, strays = true): fc.Arbitrary<string> {
  const fitting = fittingArbitrary(type, strays)
  if (!strays) return fitting
  return fc.oneof({ weight: 30, arbitrary: fitting }, { weight: 3, arbitrary: fc.constant('null') }, anything)
}

function fittingArbitrary(type: ColumnType, strays: boolean): fc.Arbitrary<string> {
  switch (type.kind) {
    case 'boolean':
      return fc.constantFrom('true', 'false')
    case 'int':
    case 'long':
    case 'float':
    case 'double':
      return fc.oneof(fc.integer().map(String), digits)
    case 'decimal': {
      const { precision, scale } = type
      const exact = fc
        .bigInt({ min: -(10n ** BigInt(precision)) + 1n, max: 10n ** BigInt(precision) - 1n })
        .map((n) => {
          const text = String(n < 0n ? -n : n).padStart(scale + 1, '0')
          const cut = text.length - scale
          return `${n < 0n ? '-' : ''}${text.slice(0, cut)}${scale > 0 ? `.${text.slice(cut)}` : ''}`
        })
      return fc.oneof(
        { weight: 4, arbitrary: exact },
        exact.map((text) => `"${text}"`),
        digits,
      )
    }
    case 'string':
      return quoted(plainText)
    case 'enum':
      return quoted(fc.constantFrom(...type.symbols, ...(strays ? ['other'] : [])))
    case 'binary':
      return quoted(
        fc.oneof(
          {
            weight: 8,
            arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('base64')),
          },
          fc.constantFrom('AB==', 'AAA', 'A===', '====', 'AA=A', '_-AA', 'AAAA AAAA', 'QQ'),
        ),
      )
    case 'date':
      return quoted(dates)
    case 'timestamp':
    case 'timestamptz':
      return type.unit === undefined ? quoted(instants) : fc.oneof(digits, quoted(instants))
    case 'uuid':
      return quoted(
        fc.oneof(
          { weight: 5, arbitrary: fc.uuid() },
          fc.uuid().map((id) => id.toUpperCase()),
          fc.constant('x'),
        ),
      )
    case 'list':
      return fc.array(valueArbitrary(type.element, strays), { maxLength: 5 }).map((items) => `[${items.join(',')}]`)
    case 'map':
      return fc
        .array(fc.tuple(quoted(fc.string({ maxLength: 14 })), valueArbitrary(type.value, strays)), { maxLength: 5 })
        .map((entries) => `{${entries.map(([key, value]) => `${key}:${value}`).join(',')}}`)
    case 'struct':
      return objectArbitrary(type.fields, strays)
  }
}

/** An object of these columns: mostly in order and without white space, as producers write. */
export function objectArbitrary(columns: readonly Column[], strays = true): fc.Arbitrary<string> {
  const fieldTexts = fc.tuple(
    ...columns.map((column) =>
      fc.tuple(
        fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(column.required === true && !strays)),
        valueArbitrary(column.type, strays).map((text) => `${JSON.stringify(column.name)}:${text}`),
      ),
    ),
  )
  const unknown = fc.tuple(fc.constantFrom('"zz"', '"Zz"', '"\\u007a1"', '"größer"'), anything)
  return fc
    .tuple(
      fieldTexts,
      fc.option(unknown, { freq: 5 }),
      fc.nat(1000),
      fc.constantFrom('', '', '', ' ', '\n\t'),
      fc.nat(9),
    )
    .map(([texts, stray, at, gap, shuffle]) => {
      const list = texts.filter(([isThere]) => isThere).map(([, text]) => text)
      if (stray !== null && strays) list.splice(at % (list.length + 1), 0, stray.join(':'))
      if (shuffle === 0) list.reverse()
      if (shuffle === 1 && list.length > 0 && strays) list.push(list[0]!)
      return `${gap}{${gap}${list.join(`${gap},${gap}`)}${gap}}${gap}`
    })
}

/** The bytes of a text, now and then with some of them changed, gone or doubled. */
export function mutated(text: fc.Arbitrary<string>): fc.Arbitrary<Uint8Array> {
  const change = fc.tuple(fc.nat(10_000), fc.constantFrom('set', 'cut', 'drop', 'add'), fc.nat(255))
  return fc
    .tuple(text, fc.oneof({ weight: 4, arbitrary: fc.constant([]) }, fc.array(change, { maxLength: 3 })))
    .map(([string, changes]) => {
      let bytes = Buffer.from(string)
      for (const [where, what, byte] of changes) {
        const at = where % Math.max(1, bytes.length)
        const one = Buffer.of(byte)
        if (what === 'set' && bytes.length > 0) bytes[at] = byte
        else if (what === 'cut') bytes = bytes.subarray(0, at)
        else if (what === 'drop') bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)])
        else bytes = Buffer.concat([bytes.subarray(0, at), one, bytes.subarray(at)])
      }
      return bytes
    })
}
