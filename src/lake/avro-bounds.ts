/** Where a value that begins at `at` ends. Throws when it does not end within the bytes. */
export type Skip = (bytes: Uint8Array, at: number) => number

/**
 * Walks over the values of an Avro schema without reading them. avsc reads beyond the end of its bytes as if zeros stood
 * there: an array that says it has 2^50 items has them, until memory is used up. So what comes out of a store is walked
 * over first. Types whose values take no bytes are refused where there may be many of them.
 */
export function skipOf(schema: unknown): Skip {
  return skipIn(schema, new Map())
}

function skipIn(schema: unknown, names: Map<string, Skip>): Skip {
  if (Array.isArray(schema)) return union(schema.map((branch) => skipIn(branch, names)))
  if (typeof schema === 'string') {
    const found = PLAIN[schema]
    // A name may be that of a type around it, which is not complete yet.
    return found ?? ((bytes, at) => named(names, schema)(bytes, at))
  }
  const { type, name, fields, items, values, size, symbols } = schema as Readonly<Record<string, any>>
  switch (type) {
    case 'record':
      return keep(
        names,
        name,
        record((fields as readonly { type: unknown }[]).map((field) => skipIn(field.type, names))),
      )
    case 'enum':
      return keep(names, name, enumOf((symbols as readonly string[]).length))
    case 'fixed':
      return keep(names, name, bytesOf(size as number))
    case 'array':
      return blocks(skipIn(items, names))
    case 'map': {
      const value = skipIn(values, names)
      return blocks((bytes, at) => value(bytes, text(bytes, at)))
    }
    default:
      return skipIn(type, names)
  }
}

function named(names: ReadonlyMap<string, Skip>, name: string): Skip {
  const found = names.get(name)
  if (found === undefined) throw new Error(`there is no type ${name}`)
  return found
}

function keep(names: Map<string, Skip>, name: string, skip: Skip): Skip {
  names.set(name, skip)
  return skip
}

function record(fields: readonly Skip[]): Skip {
  return (bytes, at) => {
    for (const field of fields) at = field(bytes, at)
    return at
  }
}

function union(branches: readonly Skip[]): Skip {
  return (bytes, at) => {
    const behind = varint(bytes, at)
    const branch = branches[zigzag]
    if (branch === undefined) throw new Error(`a union has no branch ${zigzag}`)
    return branch(bytes, behind)
  }
}

function enumOf(symbols: number): Skip {
  return (bytes, at) => {
    const behind = varint(bytes, at)
    if (zigzag < 0 || zigzag >= symbols) throw new Error(`an enum has no symbol ${zigzag}`)
    return behind
  }
}

/** Arrays and maps: blocks of items, each with their count and perhaps their size, up to one of none. */
function blocks(item: Skip): Skip {
  return (bytes, at) => {
    for (;;) {
      at = varint(bytes, at)
      let count = zigzag
      if (count === 0) return at
      if (count < 0) {
        count = -count
        at = varint(bytes, at)
      }
      for (; count > 0; count--) {
        const behind = item(bytes, at)
        if (behind === at) throw new Error('items that take no bytes')
        at = behind
      }
    }
  }
}

function bytesOf(size: number): Skip {
  return (bytes, at) => within(bytes, at + size)
}

function text(bytes: Uint8Array, at: number): number {
  const behind = varint(bytes, at)
  if (zigzag < 0) throw new Error('a length below zero')
  return within(bytes, behind + zigzag)
}

function within(bytes: Uint8Array, at: number): number {
  if (at > bytes.length) throw new Error('a value is cut')
  return at
}

/** The last number that `varint` read; what is larger than a double tells apart is larger than all bytes there are. */
let zigzag = 0

/** A number of 7 bits a byte, lowest first. */
function varint(bytes: Uint8Array, at: number): number {
  let value = 0
  let unit = 1
  for (let k = 0; k < 10; k++, unit *= 128) {
    const byte = bytes[at++]
    if (byte === undefined) throw new Error('a number is cut')
    value += (byte & 127) * unit
    if (byte > 127) continue
    zigzag = value % 2 === 0 ? value / 2 : -(value + 1) / 2
    return at
  }
  throw new Error('a number has more than 64 bits')
}

const PLAIN: Readonly<Record<string, Skip>> = {
  null: (_, at) => at,
  boolean: bytesOf(1),
  int: varint,
  long: varint,
  float: bytesOf(4),
  double: bytesOf(8),
  bytes: text,
  string: text,
}
