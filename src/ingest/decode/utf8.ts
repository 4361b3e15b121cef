import { isUtf8 } from 'node:buffer'

/** Up to here a look at each byte is cheaper than the view that the built-in check wants. */
const SHORT_MAX = 64

/** Whether the bytes at [start, end) are UTF-8, as the Unicode standard has it in table 3-7. */
export function isUtf8At(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start > SHORT_MAX) return isUtf8(bytes.subarray(start, end))
  for (let p = start; p < end;) {
    const first = bytes[p++]!
    if (first < 0x80) continue
    // 0xc0 and 0xc1 would be longer than they need, and nothing beyond 0x10ffff is a character.
    if (first < 0xc2 || first > 0xf4) return false
    const more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3
    if (p + more > end) return false
    const second = bytes[p]!
    const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
    const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
    if (second < least || second > most) return false
    for (let k = 1; k < more; k++) if ((bytes[p + k]! & 0xc0) !== 0x80) return false
    p += more
  }
  return true
}
