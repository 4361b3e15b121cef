// Pictures of what a terminal shows: SVG as text, for documents.

const [CHARACTER, LINE, MARGIN, SIZE] = [8.4, 19, 16, 14]
export const BACKGROUND = '#0d1117'
export const FOREGROUND = '#e6edf3'
/** Of the eight colours and their bright forms: those that people see with most terminals of today. */
export const PALETTE = (
  '#484f58 #ff7b72 #3fb950 #d29922 #58a6ff #bc8cff #39c5cf #b1bac4 ' +
  '#6e7681 #ffa198 #56d364 #e3b341 #79c0ff #d2a8ff #56d4dd #ffffff'
).split(' ')

/** `lines` as `shownLines` gives them. */
export function svgOf(lines, title) {
  const columns = Math.max(40, ...lines.map((runs) => runs.reduce((sum, { text }) => sum + [...text].length, 0)))
  const width = Math.ceil(columns * CHARACTER + 2 * MARGIN)
  const height = lines.length * LINE + 2 * MARGIN
  const texts = lines.map((runs, row) => {
    let column = 0
    const spans = runs.map((run) => {
      const x = (MARGIN + column * CHARACTER).toFixed(1)
      const length = [...run.text].length
      column += length
      if (run.text.trim() === '') return ''
      const looks = [
        run.color === undefined ? '' : ` fill="${PALETTE[run.color]}"`,
        run.bold ? ' font-weight="bold"' : '',
        run.dim ? ' opacity="0.6"' : '',
      ]
      // Columns stay columns, whatever font there is.
      return `<tspan x="${x}" textLength="${(length * CHARACTER).toFixed(1)}"${looks.join('')}>${escaped(run.text)}</tspan>`
    })
    return spans.join('') === '' ? '' : `<text y="${MARGIN + row * LINE + SIZE}">${spans.join('')}</text>\n`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" rx="8" fill="${BACKGROUND}"/>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="${SIZE}" fill="${FOREGROUND}" xml:space="preserve">
${texts.join('')}</g>
</svg>
`
}

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
