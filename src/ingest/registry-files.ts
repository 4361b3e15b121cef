import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { RegistrySettings } from '../settings.ts'
import type { StoredSchema } from './registry.ts'

/**
 * Schemas on this machine, so that a registry that is away stops nothing that was read before: a file per id, in a folder
 * per registry. Processes may share it: a file is complete when it has its name. What cannot be kept is asked for again.
 */
export class SchemaFiles {
  readonly #folder: string

  constructor({ url, cacheDir }: Pick<RegistrySettings, 'url' | 'cacheDir'>) {
    const parent = cacheDir ?? path.join(os.tmpdir(), `kappalake-schemas-${process.getuid?.() ?? 0}`)
    this.#folder = path.join(parent, createHash('sha256').update(url).digest('hex').slice(0, 32))
  }

  async read(id: number): Promise<StoredSchema | undefined> {
    const text = await readFile(this.#file(id), 'utf8').catch(() => undefined)
    return text === undefined ? undefined : storedOf(text)
  }

  async write(id: number, stored: StoredSchema): Promise<void> {
    const file = this.#file(id)
    const unfinished = `${file}.${process.pid}.part`
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 })
      await writeFile(unfinished, JSON.stringify(stored), { mode: 0o600 })
      await rename(unfinished, file)
    } catch {
      // A cache that cannot be written costs a question more.
    }
  }

  #file(id: number): string {
    return path.join(this.#folder, `${id}.json`)
  }
}

function isTexts(given: unknown): given is readonly string[] {
  return Array.isArray(given) && given.every((each) => typeof each === 'string')
}

function storedOf(text: string): StoredSchema | undefined {
  try {
    const { type, texts, names } = JSON.parse(text) as Partial<StoredSchema>
    if (typeof type !== 'string' || !isTexts(texts) || texts.length === 0) return undefined
    if (type !== 'PROTOBUF') return { type, texts }
    // Releases that did not read them kept them without what they import.
    return isTexts(names) && names.length === texts.length - 1 ? { type, texts, names } : undefined
  } catch {
    return undefined
  }
}
