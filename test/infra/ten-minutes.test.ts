import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { commandsOf } from '../../infra/ten-minutes.mjs'

const README = readFileSync('README.md', 'utf8')

test('the commands are those of the README, in their order and without what is said about them', () => {
  const { does, start, asks } = commandsOf(README)
  expect(does[0]).toBe('npm ci && npm run build && npm link')
  expect(does).toContain('npm run doctor')
  expect(start).toBe('npm start')
  expect(asks.length).toBeGreaterThan(1)
  for (const line of [...does, ...asks]) expect(README).toContain(`\n${line}`)
})

test.each([
  ['without the heading', README.replace('## Your own topics', '## My topics')],
  ['without a start', README.replace(/^npm start.*$/m, 'npm stop')],
  ['without a question', '## Your own topics, in ten minutes\n```sh\nnpm start\n```\n\n## Next'],
])('a README %s is refused', (_, readme) => {
  expect(() => commandsOf(readme)).toThrow()
})
