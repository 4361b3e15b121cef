// The frame of a run against real parts: they are installed, the run says whether it held, and so does the exit code.
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')

/** Installs parts of infra/setup.mjs that are not there yet. Before anything is imported that needs them. */
export function install(...parts) {
  for (const part of parts) {
    const { status } = spawnSync(process.execPath, ['infra/setup.mjs', part], { cwd: root, stdio: 'inherit' })
    if (status !== 0) process.exit(1)
  }
}

/** Whether `run` holds in a world (exact/world.mjs) of its own, which is closed whatever happens. */
export async function inWorld(options, run) {
  const { openWorld } = await import('./exact/world.mjs')
  const world = await openWorld(options)
  // The service is a process group of its own, which an interrupted run would leave behind.
  const interrupt = () => void world.close().finally(() => process.exit(1))
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, interrupt)
  try {
    return await run(world)
  } catch (error) {
    console.error(error)
    return false
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, interrupt)
    await world.close()
  }
}

export function end(isOk) {
  console.log(isOk ? 'PASS' : 'FAIL')
  process.exit(isOk ? 0 : 1)
}

/** Of an option such as `--kill-every 2s`. */
export function milliseconds(name, text) {
  const match = /^(\d+(?:\.\d+)?)(ms|s)$/.exec(text)
  if (match === null) throw new Error(`--${name} ${text}: write 2s or 500ms`)
  return Number(match[1]) * (match[2] === 's' ? 1_000 : 1)
}
