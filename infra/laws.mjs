// `npm run laws`: the properties with other seeds, round after round, for LAWS_SECONDS (default 60: one round at least)
// or until one is broken. `LAWS_SEED=7 npx vitest run --project engine <file>` makes a broken one again.
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'

const untilMs = performance.now() + 1_000 * Number(process.env.LAWS_SECONDS ?? 60)
let rounds = 0
do {
  const seed = randomInt(2 ** 31)
  rounds++
  console.log(`\n── round ${rounds}, LAWS_SEED=${seed}`)
  const args = ['vitest', 'run', '--project', 'fast', '--project', 'engine', ...process.argv.slice(2)]
  const { status } = spawnSync('npx', args, { stdio: 'inherit', env: { ...process.env, LAWS_SEED: String(seed) } })
  if (status !== 0) {
    console.log(`broken with LAWS_SEED=${seed}`)
    process.exit(1)
  }
} while (performance.now() < untilMs)
console.log(`${rounds} rounds held`)
