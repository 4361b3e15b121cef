// What a terminal shows of the bytes that a command wrote: as much of ANSI as the command line and Node's readline use.

const PLAIN = { color: undefined, bold: false, dim: false }

/** Lines of runs `{ text, color, bold, dim }`; `color` is 0 to 15. Lines longer than `columns` are wrapped. */
export function shownLines(bytes, columns) {
  const lines = [[]]
  let [row, column, style] = [0, 0, PLAIN]
  const lineAt = (at) => {
    while (lines.length <= at) lines.push([])
    return lines[at]
  }
  const put = (character) => {
    if (column >= columns) [row, column] = [row + 1, 0]
    const line = lineAt(row)
    while (line.length < column) line.push({ character: ' ', style: PLAIN })
    line[column++] = { character, style }
  }
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  const tokens = /\u001B\[([?>\d;]*)([A-Za-z])|\u001B\][^\u0007]*\u0007|\u001B[=>78]|([\s\S])/gu
  for (const [, given, command, character] of bytes.matchAll(tokens)) {
    if (character === '\r') column = 0
    else if (character === '\n') lineAt(++row)
    else if (character === '\b') column = Math.max(0, column - 1)
    else if (character === '\t')
      do put(' ')
      while (column % 8 !== 0)
    else if (character !== undefined && character >= ' ') put(character)
    if (command === undefined) continue
    const numbers = given.split(';').map(Number)
    const count = numbers[0] || 1
    if (command === 'm') style = numbers.reduce(styled, style)
    if (command === 'A') row = Math.max(0, row - count)
    if (command === 'B') lineAt((row += count))
    if (command === 'C') column += count
    if (command === 'D') column = Math.max(0, column - count)
    if (command === 'G') column = count - 1
    if (command === 'K') lines[row] = given === '2' ? [] : lineAt(row).slice(0, column)
    if (command === 'J') {
      if (given === '2') [lines.length, row, column] = [0, 0, 0]
      else lines.length = row + 1
      lines[row] = given === '2' ? [] : lineAt(row).slice(0, column)
    }
  }
  const shown = lines.map(runsOf)
  while (shown.length > 0 && shown.at(-1).length === 0) shown.pop()
  return shown
}

function styled(style, code) {
  if (code === 0) return PLAIN
  if (code === 1) return { ...style, bold: true }
  if (code === 2) return { ...style, dim: true }
  if (code === 22) return { ...style, bold: false, dim: false }
  if (code >= 30 && code <= 37) return { ...style, color: code - 30 }
  if (code >= 90 && code <= 97) return { ...style, color: code - 82 }
  return code === 39 ? { ...style, color: undefined } : style
}

function runsOf(cells) {
  const runs = []
  for (const { character, style } of cells) {
    const last = runs.at(-1)
    if (last !== undefined && last.style === style) last.text += character
    else runs.push({ text: character, style })
  }
  return runs
    .filter(({ text }, k) => k < runs.length - 1 || text.trim() !== '')
    .map(({ text, style }) => ({ text, ...style }))
}
