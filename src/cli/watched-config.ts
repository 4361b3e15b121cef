import path from 'node:path'
import type { LoadedConfig } from '../config.ts'
import { errorText, type CliContext } from './context.ts'
import { changeOf, type DevChange } from './dev-change.ts'
import { load, type SettingFlags } from './start.ts'
import { ReadStamps, untilChanged, type Stamps } from './watch-files.ts'

/** A definition and settings that are not those of before, and what that asks for. */
export interface NextConfig {
  readonly loaded: LoadedConfig
  readonly change: Exclude<DevChange, { kind: 'nothing' }>
}

/** A configuration with all the files that it is made of, read again whenever they change. */
export class WatchedConfig {
  readonly #context: CliContext
  readonly #flags: SettingFlags
  #seen: Stamps = new Map()

  constructor(context: CliContext, flags: SettingFlags) {
    this.#context = context
    this.#flags = flags
  }

  /** Throws `config.*`; the files are watched all the same. */
  async load(): Promise<LoadedConfig> {
    const reads = new ReadStamps()
    try {
      return await load(this.#context, this.#flags, reads.note)
    } catch (error) {
      reads.addAround(this.#seen)
      throw error
    } finally {
      this.#seen = reads.stamps
    }
  }

  /**
   * The first that is not as `running` is. What cannot be loaded, and what changes nothing, is told. Undefined when
   * `signal` aborts.
   */
  async next(running: LoadedConfig, say: (line: string) => void, signal: AbortSignal): Promise<NextConfig | undefined> {
    for (;;) {
      const changed = await untilChanged(this.#seen, { clock: this.#context.clock, signal })
      if (signal.aborted) return undefined
      const files = changed.map((file) => path.relative(this.#context.folder, file) || '.').join(', ')
      try {
        const loaded = await this.load()
        const change = changeOf(running, loaded)
        if (change.kind !== 'nothing') {
          say(`↻ ${files}: ${changeText(change)}`)
          return { loaded, change }
        }
        say(`= ${files}: nothing else is meant; all goes on`)
      } catch (error) {
        say(`${errorText(error, this.#context.out)}  the definition from before goes on`)
      }
    }
  }
}

function changeText(change: NextConfig['change']): string {
  if (change.kind === 'code') return `${change.tables.join(', ')} changed; opening the lake again`
  return `${change.fields.join(', ')} changed, and no table; opening the lake again`
}
