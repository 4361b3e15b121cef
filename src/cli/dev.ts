import type { Command } from 'commander'
import { anyOf } from '../abort.ts'
import type { LoadedConfig } from '../config.ts'
import type { LakeEvent } from '../event.ts'
import type { Lake } from '../index.ts'
import { redacted } from '../redact.ts'
import { DEFAULT_URL } from './client.ts'
import { errorText, type CliContext } from './context.ts'
import { dropRebuilds, rebuild } from './dev-rebuild.ts'
import { addressOf, narrator, runLake, showStatus, stateLine, type OpenLake } from './serve.ts'
import { banner, withSettings, type SettingFlags } from './start.ts'
import { WatchedConfig, type NextConfig } from './watched-config.ts'

const LOOK_EVERY_MS = 200

/** `dev`: as `start`, and what changes in the definition is rebuilt and cut over by itself. */
export function addDevCommand(program: Command, context: CliContext, openLake: OpenLake): void {
  withSettings(
    program.command('dev').description('start, and rebuild what changes in the definition as soon as it is saved'),
  ).action((flags: SettingFlags) => runDev(context, openLake, flags))
}

/** Throws what the first definition, or the first lake, cannot be opened for; later ones are told, and gone back from. */
export async function runDev(context: CliContext, openLake: OpenLake, flags: SettingFlags): Promise<void> {
  const watched = new WatchedConfig(context, flags)
  const opened = { last: undefined as LoadedConfig | undefined }
  for (let loaded: LoadedConfig | undefined = await watched.load(); loaded !== undefined && !context.signal.aborted;) {
    const asked: LoadedConfig = loaded
    try {
      loaded = (await session(context, openLake, asked, watched, opened))?.loaded
    } catch (error) {
      // One that was open has failed, or there is none to go back to.
      if (opened.last === undefined || opened.last === asked || context.signal.aborted) throw error
      context.err.write(`${errorText(error, context.err)}  going back to the definition from before\n`)
      loaded = opened.last
    }
  }
}

/** Runs a lake until its definition or its settings change; undefined when the process is asked to end. */
function session(
  context: CliContext,
  openLake: OpenLake,
  loaded: LoadedConfig,
  watched: WatchedConfig,
  opened: { last: LoadedConfig | undefined },
): Promise<NextConfig | undefined> {
  const say = narrator(context)
  const work = async (lake: Lake, signal: AbortSignal): Promise<NextConfig | undefined> => {
    if (opened.last === undefined) context.out.write(banner(loaded) + devBanner(loaded))
    else say(`✓ open again at ${addressOf(loaded.settings.http)}`)
    opened.last = loaded
    const ended = new AbortController()
    const over = anyOf(signal, ended.signal)
    const keeping = keepUp(lake, loaded, context, over)
    let next: NextConfig | undefined
    try {
      next = await watched.next(loaded, say, over)
    } finally {
      ended.abort()
      await keeping
    }
    if (next?.change.kind !== 'code') return next
    try {
      await dropRebuilds(lake, next.change.pipelines, context)
    } catch (error) {
      // The next lake finds them, and cancels them again.
      say(errorText(error, context.out).trimEnd())
    }
    return next
  }
  return runLake(context, openLake, loaded.definition, loaded.settings, work, { lineOf: devLine })
}

/** Shows how the pipelines stand, and rebuilds those whose tables are of another definition. Failures are told. */
async function keepUp(
  lake: Lake,
  { definition }: LoadedConfig,
  context: CliContext,
  signal: AbortSignal,
): Promise<void> {
  const { clock, out } = context
  const done = new Set<string>()
  const nextChanged = () => lake.pipelines.find((each) => !done.has(each.name) && needsRebuild(each.status()))
  while (!signal.aborted) {
    const quiet = new AbortController()
    const showing = showStatus(context, lake, anyOf(signal, quiet.signal))
    while (!signal.aborted && nextChanged() === undefined) await clock.sleep(LOOK_EVERY_MS, signal)
    quiet.abort()
    await showing
    const name = nextChanged()?.name
    const pipeline = definition.pipelines.find((each) => each.name === name)
    if (pipeline === undefined || signal.aborted) continue
    // Once: what failed, or was rolled back, waits for a person or another change.
    done.add(pipeline.name)
    try {
      await rebuild(lake, pipeline, { ...context, signal })
    } catch (error) {
      if (!signal.aborted) out.write(errorText(error, out))
      else if (context.signal.aborted) out.write('the replay goes on with the next "kappalake dev"\n')
    }
  }
}

/** One that was taken over by others, or rolled back, is `code.superseded`: somebody wanted that. */
export function needsRebuild({ state, reason }: ReturnType<Lake['pipelines'][number]['status']>): boolean {
  return state === 'superseded' && reason?.code === 'code.changed'
}

function devBanner({ settings }: LoadedConfig): string {
  const url = addressOf(settings.http)
  return `${url === DEFAULT_URL ? '' : `  export KAPPALAKE_URL=${url}\n`}  watching the definition; Ctrl-C ends\n`
}

/** What is rebuilt by itself needs no advice. */
function devLine(event: LakeEvent): string | undefined {
  const isOwn = event.kind === 'state' && event.reason?.code === 'code.changed'
  return isOwn ? redacted(`≠ ${event.pipeline}: ${event.reason?.message}\n`) : stateLine(event)
}
