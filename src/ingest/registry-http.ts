import { lookup, type LookupAddress, type LookupOptions } from 'node:dns'
import http from 'node:http'
import https from 'node:https'
import { BlockList, isIP } from 'node:net'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'

/** One answer. Redirects are answers like any other: nothing is followed. */
export interface HttpAnswer {
  readonly status: number
  readonly body: string
}

export interface HttpOptions {
  readonly headers: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly bytesMax: number
  /** PEM of an authority, beside those of the system. */
  readonly ca?: string | undefined
  readonly clock: Clock
}

/**
 * Asks one address, with a limit of time and of bytes. Throws `registry.unavailable` when there is no whole answer, and
 * for addresses that serve machines their own credentials, whatever name leads there.
 */
export async function get(url: URL, options: HttpOptions): Promise<HttpAnswer> {
  const stop = new AbortController()
  const done = new AbortController()
  void options.clock.sleep(options.timeoutMs, done.signal).then(() => stop.abort())
  try {
    const host = url.hostname.replace(/^\[|\]$/g, '')
    if (isIP(host) !== 0) refuseLinkLocal(host)
    return await request(url, options, stop.signal)
  } catch (error) {
    if (error instanceof LakeError) throw error
    const what = stop.signal.aborted ? `did not answer within ${options.timeoutMs} ms` : messageOf(error)
    throw new LakeError('registry.unavailable', `the schema registry at ${url.origin}: ${what}`, {
      retryable: true,
      context: { url: url.origin },
      cause: error,
      fix: 'Start the registry, or correct registry.url: ingestion waits and goes on by itself.',
    })
  } finally {
    done.abort()
  }
}

function request(url: URL, { headers, bytesMax, ca }: HttpOptions, signal: AbortSignal): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const options = { headers, signal, lookup: checkedLookup, ...(ca === undefined ? {} : { ca }) }
    const { get: ask } = url.protocol === 'https:' ? https : http
    const asked = ask(url, options, (answer) => {
      const chunks: Buffer[] = []
      let bytes = 0
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > bytesMax) asked.destroy(new Error(`answered with more than ${bytesMax} bytes`))
        else chunks.push(chunk)
      })
      answer.on('end', () => {
        if (answer.complete) resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') })
        else reject(new Error('the answer ended early'))
      })
      answer.on('error', reject)
    })
    asked.on('error', reject)
  })
}

const LINK_LOCAL = new BlockList()
LINK_LOCAL.addSubnet('169.254.0.0', 16, 'ipv4')
LINK_LOCAL.addSubnet('fe80::', 10, 'ipv6')
LINK_LOCAL.addSubnet('fd00:ec2::', 32, 'ipv6')

function refuseLinkLocal(address: string): void {
  if (LINK_LOCAL.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'))
    throw new LakeError(
      'registry.denied',
      `the schema registry would be at ${address}, an address of this link alone`,
      {
        context: { address },
        fix: 'Correct registry.url.',
      },
    )
}

type LookupCallback = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void

/** What is checked is what is connected to. */
function checkedLookup(host: string, options: LookupOptions, callback: LookupCallback): void {
  lookup(host, options, (error, found, family) => {
    if (error !== null) return callback(error, found as string, family)
    const addresses = Array.isArray(found) ? (found as LookupAddress[]).map(({ address }) => address) : [String(found)]
    try {
      for (const address of addresses) refuseLinkLocal(address)
    } catch (refused) {
      return callback(refused as NodeJS.ErrnoException, found as string, family)
    }
    callback(null, found as string, family)
  })
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as NodeJS.ErrnoException
  return code === undefined ? error.message : `${code}: ${error.message}`
}
