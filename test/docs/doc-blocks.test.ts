import { describe, expect, test } from 'vitest'
import { blocksIn, blocksOf, LANGUAGES, runBlock } from '../support/doc-blocks.ts'
import { DOCS, GUIDES } from './docs.ts'

const block = (mark: string, language = 'sh') =>
  blocksIn('x.md', `Text.\n${mark}\n\`\`\`${language}\necho 1\n\`\`\`\n`)[0]!

describe('a mark', () => {
  test.each([
    ['<!-- run -->', { kind: 'run', as: 'sh', prints: undefined }],
    ['<!-- run /a b\\/c/ -->', { kind: 'run', as: 'sh', prints: /a b\/c/ }],
    ['<!-- run as spark -->', { kind: 'run', as: 'spark', prints: undefined }],
    ['<!-- run as spark /\\d+/ -->', { kind: 'run', as: 'spark', prints: /\d+/ }],
    ['<!-- not run: needs Docker -->', { kind: 'not-run', reason: 'needs Docker' }],
    ['Text.', undefined],
    ['<!-- another comment -->', undefined],
  ])('%s', (line, mark) => {
    expect(block(line)).toEqual({ file: 'x.md', line: 3, language: 'sh', text: 'echo 1', mark })
  })

  test.each([
    '<!-- run: it -->',
    '<!-- Run -->',
    '<!-- not run -->',
    '<!-- not run: -->',
    '<!--run-->',
    '<!-- running -->',
  ])('%s is none, and says so', (line) => expect(() => block(line)).toThrow('x.md:2: this is no mark'))

  test('belongs to the block behind it alone, and fences inside of a block are text', () => {
    const text = '<!-- run -->\n```sh\n```sql\n<!-- run -->\n```\n\n```sh\n2\n```'
    expect(blocksIn('x.md', text).map(({ mark, text: inside }) => [mark?.kind, inside])).toEqual([
      ['run', '```sql\n<!-- run -->'],
      [undefined, '2'],
    ])
  })

  test('a block without an end is refused', () => {
    expect(() => blocksIn('x.md', '```sh\necho 1')).toThrow('x.md:1')
  })
})

describe('a block', () => {
  const place = { folder: '/tmp', instead: { there: 'here' } }
  const run = (mark: string, text: string) =>
    runBlock(blocksIn('x.md', `${mark}\n\`\`\`yaml\n${text}\n\`\`\``)[0]!, place)

  test('that nobody marked does not run, nor does one that nothing runs', async () => {
    await expect(run('Text.', '')).rejects.toThrow('not marked')
    await expect(run('<!-- run as cobol -->', '')).rejects.toThrow('nothing runs cobol')
  })
})

describe.each([...DOCS, ...GUIDES])('%s', (file) => {
  const blocks = blocksOf(file)

  test('has blocks, each of which is run or says why not', () => {
    expect(blocks.length).toBeGreaterThan(0)
    const unmarked = blocks.filter(({ language, mark }) => LANGUAGES.includes(language) && mark === undefined)
    expect(unmarked.map(({ line, language }) => `${file}:${line} (${language})`)).toEqual([])
  })
})
