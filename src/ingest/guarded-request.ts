import dns from 'node:dns'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import type { Clock } from '../clock.ts'

/** An answer of a server, as far as anybody here needs it. */
export interface Answer {
  readonly status: number
  readonly text: string
}

export interface FormRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly form: Readonly<Record<string, string>>
  /** Authorities to trust instead of the system's, in PEM form. */
  readonly ca?: string | undefined
  readonly timeoutMs: number
}

const ANSWER_BYTES_MAX = 64 * 1024

/** Where machines in a cloud find their own credentials: no address of ours is there, whatever its name says. */
const NEVER = new net.BlockList()
NEVER.addSubnet('169.254.0.0', 16)
NEVER.addSubnet('fe80::', 10, 'ipv6')
NEVER.addSubnet('fd00:ec2::', 32, 'ipv6')

/**
 * Sends a form and reads the whole answer. Redirects are not followed, link-local addresses are refused (the very
 * address that is connected to is checked), and the answer and the time have limits. Rejects with what went wrong on
 * the way; an answer of any status is one.
 */
export async function postForm(request: FormRequest, clock: Clock): Promise<Answer> {
  const url = new URL(request.url)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (net.isIP(host) !== 0) refuse(host)
  const body = new URLSearchParams(request.form).toString()
  const stop = new AbortController()
  const answered = new AbortController()
  void clock.sleep(request.timeoutMs, answered.signal).then(() => {
    if (!answered.signal.aborted) stop.abort(new Error(`no answer within ${request.timeoutMs} ms`))
  })
  try {
    return await send(url, body, request, stop.signal)
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error
  } finally {
    answered.abort()
  }
}

function send(url: URL, body: string, { headers, ca }: FormRequest, signal: AbortSignal): Promise<Answer> {
  const options: https.RequestOptions = {
    method: 'POST',
    headers: {
      ...headers,
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(Buffer.byteLength(body)),
      accept: 'application/json',
    },
    agent: false,
    signal,
    lookup: guardedLookup,
    ...(ca === undefined ? {} : { ca }),
  }
  return new Promise((resolve, reject) => {
    const request = url.protocol === 'https:' ? https.request(url, options) : http.request(url, options)
    request.on('error', reject)
    request.on('response', (response) => {
      const parts: Buffer[] = []
      let bytes = 0
      response.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > ANSWER_BYTES_MAX) request.destroy(new Error(`the answer has more than ${ANSWER_BYTES_MAX} bytes`))
        else parts.push(part)
      })
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }),
      )
    })
    request.end(body)
  })
}

const guardedLookup: net.LookupFunction = (hostname, options, done) => {
  dns.lookup(hostname, options, (error, found, family) => {
    try {
      if (error === null)
        for (const { address } of typeof found === 'string' ? [{ address: found }] : found) refuse(address)
    } catch (refusal) {
      return done(refusal as NodeJS.ErrnoException, found, family)
    }
    done(error, found, family)
  })
}

function refuse(address: string): void {
  if (NEVER.check(address, net.isIPv6(address) ? 'ipv6' : 'ipv4'))
    throw new Error(`${address} is a link-local address: nothing is asked there`)
}
