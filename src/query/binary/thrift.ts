// As much of Thrift's compact protocol as Parquet's headers and footer take.

/** A value and the number of its type. A boolean in a struct is its type alone. */
export interface ThriftValue {
  readonly type: number
  write(out: number[]): void
}

export const byte = (value: number): ThriftValue => ({ type: 3, write: (out) => out.push(value & 0xff) })
export const i32 = (value: number): ThriftValue => ({ type: 5, write: (out) => writeZigzag(out, value) })
export const i64 = (value: number): ThriftValue => ({ type: 6, write: (out) => writeZigzag(out, value) })
export const bool = (value: boolean): ThriftValue => ({ type: value ? 1 : 2, write: () => undefined })

export function binary(text: string): ThriftValue {
  return {
    type: 8,
    write(out) {
      const bytes = Buffer.from(text)
      writeVarint(out, bytes.length)
      for (const each of bytes) out.push(each)
    },
  }
}

/** Values of one type. */
export function list(values: readonly ThriftValue[], type = 12): ThriftValue {
  return {
    type: 9,
    write(out) {
      if (values.length < 15) out.push((values.length << 4) | type)
      else {
        out.push(0xf0 | type)
        writeVarint(out, values.length)
      }
      for (const value of values) value.write(out)
    },
  }
}

/** Fields by their number; JavaScript keeps such keys in ascending order. */
export function struct(fields: Readonly<Record<number, ThriftValue | undefined>>): ThriftValue {
  return {
    type: 12,
    write(out) {
      let last = 0
      for (const [key, value] of Object.entries(fields)) {
        if (value === undefined) continue
        const id = Number(key)
        out.push(((id - last) << 4) | value.type) // no two of ours are more than 15 apart
        last = id
        value.write(out)
      }
      out.push(0)
    },
  }
}

export function thriftBytes(value: ThriftValue): Uint8Array {
  const out: number[] = []
  value.write(out)
  return Uint8Array.from(out)
}

function writeZigzag(out: number[], value: number): void {
  writeVarint(out, value < 0 ? -value * 2 - 1 : value * 2)
}

/** By division: lengths may have more than 32 bits. */
export function writeVarint(out: number[], value: number): void {
  let rest = value
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  out.push(rest)
}
