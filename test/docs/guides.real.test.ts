import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { blocksIn, blocksOf } from '../support/doc-blocks.ts'
import { Guide } from '../support/guide.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { GUIDES } from './docs.ts'

// Each guide from its top to its end, as a stranger would go through it, over one real Kafka.

const LIMIT_MS = 120_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-guides-'))
let kafka: TestKafka

beforeAll(async () => void (kafka = await startKafka({ heap: '384m' })), LIMIT_MS)
afterAll(async () => {
  await kafka?.stop()
  rmSync(folder, { recursive: true, force: true })
})

test.each(GUIDES)(
  '%s',
  async (file) => {
    const guide = new Guide(kafka, path.join(folder, path.basename(file, '.md')))
    try {
      for (const block of blocksOf(file)) await guide.run(block)
    } finally {
      await guide.close()
    }
  },
  LIMIT_MS,
)

test('a guide whose result is another fails', async () => {
  const guide = new Guide(kafka, path.join(folder, 'wrong'))
  const block = (mark: string, language: string, text: string) =>
    blocksIn('x.md', `${mark}\n\`\`\`${language}\n${text}\n\`\`\``)[0]!
  await guide.run(block('<!-- run -->', 'sh', `echo '{"n":1}'`))
  await expect(guide.run(block('', 'json', '{"n":2}'))).rejects.toThrow('x.md:2')
  await expect(guide.run(block('<!-- run as kafka -->', 'sh', 'kafka-topics.sh --delete'))).rejects.toThrow('--delete')
})
