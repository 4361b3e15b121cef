import { mkdir, open, readFile, rename } from 'node:fs/promises'
import path from 'node:path'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { ShopSettings } from '../settings.ts'

/** Records of each topic that are there at once. */
const RECORDS_AT_START = 20_000
const DEFAULTS = { seed: 42, rate: 50 } as const

/**
 * Which shop a folder holds. Written before anything else, once, and whole: the log is a function of these numbers, so
 * a restart after a kill at any moment finds the same records under the same offsets. Throws `config.invalid` when
 * another shop is asked for than the folder holds.
 */
export async function keepShop(
  folder: string,
  wanted: { readonly seed?: number; readonly rate?: number },
  clock: Clock,
): Promise<ShopSettings> {
  const file = path.join(folder, 'demo.json')
  const kept = await readShop(file)
  if (kept === undefined) {
    const shop: ShopSettings = {
      seed: wanted.seed ?? DEFAULTS.seed,
      epochMs: clock.nowMs(),
      recordsPerSecond: wanted.rate ?? DEFAULTS.rate,
      recordsAtStart: RECORDS_AT_START,
    }
    await writeWhole(file, JSON.stringify(shop))
    return shop
  }
  for (const [flag, value, held] of [
    ['--seed', wanted.seed, kept.seed],
    ['--rate', wanted.rate, kept.recordsPerSecond],
  ] as const)
    if (value !== undefined && value !== held)
      throw new LakeError('config.invalid', `${folder} holds a shop with ${flag} ${held}, not ${value}`, {
        fix: `Leave ${flag} away, name another folder with --data, or remove this one.`,
      })
  return kept
}

async function readShop(file: string): Promise<ShopSettings | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const { seed, epochMs, recordsPerSecond, recordsAtStart } = JSON.parse(text) as ShopSettings
    if ([seed, epochMs, recordsPerSecond, recordsAtStart].every(Number.isSafeInteger))
      return { seed, epochMs, recordsPerSecond, recordsAtStart }
  } catch {
    // Falls through: text that is no JSON is no shop either.
  }
  throw new LakeError('config.invalid', `${file} does not describe a demo`, {
    fix: 'Remove the folder, or name another with --data.',
  })
}

async function writeWhole(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true })
  const part = `${file}.part`
  const handle = await open(part, 'w')
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(part, file)
}
