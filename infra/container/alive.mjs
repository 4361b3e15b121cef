// Whether the kappalake of this container answers at all: exit code 0 or 1. What is wrong outside of it, and what waits
// for a person, does not matter here: a restart would mend neither.
const url = process.env.KAPPALAKE_URL ?? `http://127.0.0.1:${process.env.KAPPALAKE__HTTP__PORT ?? '7780'}`

const answer = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(4_000) }).catch((error) => error)
if (answer.ok !== true) {
  console.error(`${url}/healthz: ${answer.status ?? answer.cause?.message ?? answer.message}`)
  process.exitCode = 1
}
