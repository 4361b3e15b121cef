// Loaded into the main process of a service under test: writes how late its event loop is, in milliseconds, to
// LOOP_DELAY_FILE, every second anew; begins again when the file was removed.
import { existsSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const file = process.env.LOOP_DELAY_FILE
if (file !== undefined && process.argv[1]?.endsWith('main.js')) {
  const delays = monitorEventLoopDelay({ resolution: 5 })
  delays.enable()
  setInterval(() => {
    if (!existsSync(file)) delays.reset()
    writeFileSync(file, JSON.stringify({ p999: delays.percentile(99.9) / 1e6, max: delays.max / 1e6 }))
  }, 1_000).unref()
}
