import { stripVTControlCharacters } from 'node:util'
import type { Terminal } from './context.ts'

/** What is known of the place where text goes to. */
export type Screen = Pick<Terminal, 'isTty' | 'columns'>

/** Columns of a terminal: East Asian wide characters and most pictographs take two, colours none. */
export function width(text: string): number {
  let columns = 0
  for (const character of stripVTControlCharacters(text))
    columns +=
      /\p{Extended_Pictographic}|[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60]/u.test(
        character,
      ) && character > '\u00FF'
        ? 2
        : 1
  return columns
}

/** At most so wide; what was cut off shows. Of text without colours. */
export function cut(text: string, widthMax: number): string {
  if (width(text) <= widthMax) return text
  let [kept, columns] = ['', 0]
  for (const character of text) {
    columns += width(character)
    if (columns > widthMax - 1) break
    kept += character
  }
  return `${kept}…`
}

/**
 * Lines that a terminal would break in the middle of a word are broken between words, and go on under where their text
 * began: `hang` columns from the left, or two beyond their own beginning. Other readers get them whole.
 */
export function wrapped(text: string, { isTty, columns }: Screen, hang?: number): string {
  if (!isTty) return text
  return text
    .split('\n')
    .map((line) => wrappedLine(line, columns, hang ?? /^ */.exec(line)![0].length + 2))
    .join('\n')
}

function wrappedLine(line: string, columns: number, hang: number): string {
  if (width(line) <= columns || hang >= columns / 2) return line
  const lines: string[] = []
  let now = ''
  for (const word of line.split(/(?<=[^ ]) /)) {
    const more = now === '' ? word : `${now} ${word}`
    if (now !== '' && width(more) > columns) {
      lines.push(now)
      now = ' '.repeat(hang) + word.trimStart()
    } else now = more
  }
  return [...lines, now].join('\n')
}
