// Whether the kappalake of this container is ready: exit code 0, or 1 with what is missing and the fix. It is the
// container's health check: small, because it runs every few seconds.
const port = process.env.KAPPALAKE__HTTP__PORT ?? '7780'
const url = process.env.KAPPALAKE_URL ?? `http://127.0.0.1:${port}`
const token = process.env.KAPPALAKE_TOKEN

try {
  const response = await fetch(`${url}/readyz`, {
    headers: token ? { authorization: `Bearer ${token}` } : {},
    signal: AbortSignal.timeout(4_000),
  })
  const { ready, checks = [] } = await response.json()
  for (const { name, ok, code, detail, fix } of checks)
    if (!ok) console.error(`${name}: ${code}: ${detail}${fix ? ` → ${fix}` : ''}`)
  process.exitCode = ready === true ? 0 : 1
  if (ready === undefined) console.error(`${url}/readyz answers ${response.status}`)
} catch (error) {
  console.error(`${url}: ${error.cause?.message ?? error.message}`)
  process.exitCode = 1
}
