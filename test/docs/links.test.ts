import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'

// A link of the documentation leads somewhere: to a file that is there, and to a heading that it has.

const PAGES = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', ...pagesBelow('docs')]

function pagesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(folder, entry.name)
    if (entry.isDirectory()) return pagesBelow(name)
    return name.endsWith('.md') ? [name] : []
  })
}

/** As GitHub names headings. */
function anchorsOf(file: string): Set<string> {
  const text = readFileSync(file, 'utf8').replaceAll(/^```[^]*?^```$/gm, '')
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading!)
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

/** What is wrong with the links of a text that stands in `file`. */
function brokenLinks(file: string, text: string): string[] {
  const prose = text.replaceAll(/^```[^]*?^```$/gm, '').replaceAll(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link]) => link!)
    .filter((link) => !/^[a-z]+:/.test(link))
    .filter((link) => {
      const [there = '', anchor] = link.split('#')
      const target = there === '' ? file : path.join(path.dirname(file), there)
      if (!existsSync(target)) return true
      return anchor !== undefined && statSync(target).isFile() && !anchorsOf(target).has(anchor)
    })
}

test.each(PAGES)('%s leads somewhere', (file) => {
  expect(brokenLinks(file, readFileSync(file, 'utf8'))).toEqual([])
})

test('a link to nowhere is found', () => {
  expect(
    brokenLinks('docs/x.md', '[a](nothing.md) [b](sql.md#nothing) [c](sql.md) [d](../README.md#the-demo)'),
  ).toEqual(['nothing.md', 'sql.md#nothing'])
})

test('README leads to every page of the documentation', () => {
  const readme = readFileSync('README.md', 'utf8')
  const listed = PAGES.filter((file) => /^docs\/[^/]+\.md$|^docs\/guides\//.test(file))
  expect(listed.filter((file) => !readme.includes(`](${file}`))).toEqual([])
})
