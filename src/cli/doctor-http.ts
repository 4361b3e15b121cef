import { LakeError } from '../error.ts'
import { listenOnce } from '../server/listen.ts'
import type { HttpSettings } from '../settings.ts'
import type { Check } from './doctor.ts'
import { addressOf } from './serve.ts'

const HTTP_MS_MAX = 2_000

/** Whether the API can be served: nobody is there, or kappalake is already. */
export function httpCheck(http: HttpSettings, fetchWith: typeof fetch): Check {
  const address = addressOf(http)
  return {
    name: 'http',
    run: async () => {
      const problem = await listenOnce(http)
      if (problem === undefined) return `${address} is free`
      if (problem.code !== 'EADDRINUSE')
        throw new LakeError('config.invalid', `${address} cannot be served: ${problem.message}`, {
          cause: problem,
          fix: 'Correct http.host and http.port: an address of this machine, and a port above 1023.',
        })
      const answer = await fetchWith(`${address}/healthz`, { signal: AbortSignal.timeout(HTTP_MS_MAX) })
        .then((response) => response.json() as Promise<{ status?: unknown }>)
        .catch(() => undefined)
      if (answer?.status === 'ok') return `kappalake answers at ${address} already`
      throw new LakeError('config.invalid', `another program listens at ${address}`, {
        fix: 'End it, or choose another port with --port or http.port.',
      })
    },
  }
}
